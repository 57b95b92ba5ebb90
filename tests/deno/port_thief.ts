// Listens on a port as soon as it is free, and writes how many bytes it receives. Run by inner_server_test.ts.
const port = Number(Deno.args[0]);
const listener = (() => {
  console.log("ready");
  for (const end = performance.now() + 5_000; performance.now() < end;) {
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch {
      // Another process still listens.
    }
  }
  throw new Error("the port was never free");
})();
console.log("taken");
let received = 0;
setTimeout(() => {
  console.log(`received ${received}`);
  Deno.exit();
}, 300);
for await (const conn of listener) {
  (async () => {
    for await (const bytes of conn.readable) received += bytes.length;
  })().catch(() => {});
}
