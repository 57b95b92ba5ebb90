import { assertEquals } from "@std/assert";
import test from "node:test";
import { KNOWING_SERVERS } from "../support/client_servers.ts";
import { issueWorld, rollOver } from "../support/rollover.ts";

const CLIENTS = 20;
const world = await issueWorld(CLIENTS);

for (const [name, start] of Object.entries(KNOWING_SERVERS)) {
  test(`${name}: clients move from one authority to another, and no connection that may stay is dropped`, async () => {
    const { refusals, dropped, wrong } = await rollOver(start, world);
    assertEquals({ refusals, dropped, wrong }, { refusals: CLIENTS + 1, dropped: 0, wrong: 0 });
  });
}
