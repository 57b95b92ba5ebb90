import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, dialTcp } from "../support/peers.ts";

const SERVER = fileURLToPath(new URL("limited_server.ts", import.meta.url));
const FILE_LIMIT = 100;
const ON_POSIX = { skip: process.platform === "win32" ? "needs ulimit" : false };

test(
  "a server that ran out of file descriptors serves on, and whoever comes once there are some",
  ON_POSIX,
  async () => {
    const [first, second] = [await issueServer("first"), await issueServer("second")];
    const runArgs = process.versions["deno"] ? ["run", "-A"] : [];
    const child = spawn("sh", ["-c", `ulimit -n ${FILE_LIMIT}; exec "$0" "$@"`, process.execPath, ...runArgs, SERVER], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const errors: string[] = [];
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const hear = async () => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error("the server is gone");
        if (!value.startsWith("error ")) return value as string;
        errors.push(value.slice("error ".length));
      }
    };
    const tell = async (command: string) => {
      child.stdin.write(`${command}\n`);
      assertEquals(await hear(), command);
    };
    child.stdin.write(`${JSON.stringify([first, second].map(({ cert, key }) => ({ cert, key })))}\n`);
    const port = Number((await hear()).slice("port ".length));

    const kept = await HttpConnection.open(port);
    assertEquals((await kept.ask("/")).text, "answer");
    await tell("fill");
    const crowd = await Promise.all(Array.from({ length: 2 * FILE_LIMIT }, () => dialTcp(port)));
    // Each is refused, reset or left in the queue; who was there before is served.
    await tell("swap");
    assertEquals((await kept.ask("/")).text, "answer");
    assertEquals(kept.fingerprint256, first.fingerprint256);
    for (const socket of crowd) socket.destroy();
    await Promise.all(crowd.map(closed));
    await tell("release");
    for (;;) {
      const connection = await HttpConnection.open(port).catch(() => undefined);
      const answer = await connection?.ask("/").catch(() => undefined);
      connection?.close();
      if (answer?.text === "answer" && connection?.fingerprint256 === second.fingerprint256) break;
      // What is left of the crowd may take the first descriptors; a generation that did not start is tried again.
      await delay(50);
    }
    if (process.versions["bun"]) assertEquals([...new Set(errors)], ["CONFIG_UNUSABLE"]);
    assertEquals((await kept.ask("/")).text, "answer");
    kept.close();
    child.stdin.end();
    await new Promise((resolve) => child.once("exit", resolve));
  },
);
