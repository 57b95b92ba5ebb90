import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import test from "node:test";
import { handlersFor, isHtmlImport, refusingHandlers } from "../../src/bun/handlers.ts";
import { closeAfter } from "../../src/native/gentle_end.ts";

const Native = Response;

/** What `@hono/node-server` does in a process that uses it. */
function withReplacedResponse(run: () => void): void {
  const Replacement = class {};
  Object.setPrototypeOf(Replacement.prototype, Native.prototype);
  Object.defineProperty(globalThis, "Response", { value: Replacement, configurable: true, writable: true });
  try {
    run();
  } finally {
    Object.defineProperty(globalThis, "Response", { value: Native, configurable: true, writable: true });
  }
}

test("closeAfter() knows the responses of the runtime when other code has replaced the global class", () => {
  const response = new Native("text");
  withReplacedResponse(() => assertStrictEquals(closeAfter(response), response));
  assertEquals(response.headers.get("connection"), "close");
});

test("The handlers of Bun.serve answer by the class of the runtime when other code has replaced the global one", () => {
  const refused = refusingHandlers({}) as { fetch(): Response };
  const route = new Native("static");
  const context = { admits: () => false, admitsStaticRoutes: true, server: undefined as never };
  const unused = { upgradingAddress: () => undefined, publishElsewhere: () => 0 };
  withReplacedResponse(() => {
    assert(refused.fetch() instanceof Native);
    assertEquals(isHtmlImport(route), false);
    const { routes } = handlersFor({ routes: { "/static": route } }, { ...context, ...unused }) as {
      routes: Readonly<Record<string, (request: Request) => Response>>;
    };
    const answer = routes["/static"]!(new Request("https://localhost/static"));
    assertEquals([answer instanceof Native, answer.status], [true, 421]);
  });
});
