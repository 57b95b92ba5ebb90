import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "@std/path";
import { execFileSync } from "node:child_process";
import { watch } from "node:fs";
import { copyFile, mkdir, open, readlink, rename, rm, symlink, unlink, utimes, writeFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { TlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { issueCa, type Issued, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { opensslText } from "../support/openssl.ts";
import { OpensslClient } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { BY_EVENTS, BY_POLLING, inotifyWatches, nextEvent, RotatingServer } from "./rotating_files.ts";

const authority = await issueCa("intermediate", { issuer: await issueCa("root") });
const versions = await Promise.all(["v1", "v2", "v3"].map((name) => issueServer(name, { issuer: authority })));
const [v1, v2, v3] = versions as [Issued, Issued, Issued];
/** Why the tests that count watches are skipped where they are. */
const NO_INOTIFY = process.platform !== "linux" && "the system does not tell who watches what";

/** One way in which files come to be replaced. */
interface Script {
  readonly title: string;
  /** Puts the first version in place, and gives the paths of certificate and key. */
  readonly prepare: (files: TestFiles, issued: Issued) => Promise<[cert: string, key: string]>;
  /** Puts another version in its place. */
  readonly rotate: (files: TestFiles, issued: Issued, reloader: Reloader) => Promise<unknown>;
}

async function writePair(directory: string, { cert, key }: Issued): Promise<[cert: string, key: string]> {
  await mkdir(directory, { recursive: true });
  const paths = [join(directory, "tls.crt"), join(directory, "tls.key")] as [string, string];
  await writeFile(paths[0], cert);
  await writeFile(paths[1], key, { mode: 0o600 });
  return paths;
}

const plain = (files: TestFiles, issued: Issued) => writePair(files.path("certs"), issued);

async function renameOver(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
}

async function linkOver(target: string, path: string): Promise<void> {
  await symlink(target, `${path}_tmp`);
  await rename(`${path}_tmp`, path);
}

async function writeInHalves(path: string, content: string): Promise<void> {
  const file = await open(path, "w");
  await file.write(content.slice(0, content.length / 2));
  await delay(300);
  await file.write(content.slice(content.length / 2));
  await file.close();
}

let revision = 0;

const scripts: readonly Script[] = [
  {
    title: "rename over",
    prepare: plain,
    rotate: async (files, { cert, key }) => {
      await renameOver(files.path("certs/tls.key"), key);
      await renameOver(files.path("certs/tls.crt"), cert);
    },
  },
  {
    title: "cp in place",
    prepare: plain,
    rotate: async (files, issued) => {
      const [cert, key] = await writePair(files.path("staging"), issued);
      await copyFile(cert, files.path("certs/tls.crt"));
      await copyFile(key, files.path("certs/tls.key"));
    },
  },
  {
    title: "each file written in two halves 300 ms apart",
    prepare: plain,
    rotate: async (files, { cert, key }) => {
      await writeInHalves(files.path("certs/tls.crt"), cert);
      await writeInHalves(files.path("certs/tls.key"), key);
    },
  },
  {
    title: "the key a second before the certificate",
    prepare: plain,
    rotate: async (files, { cert, key }) => {
      await renameOver(files.path("certs/tls.key"), key);
      await delay(1_000);
      await renameOver(files.path("certs/tls.crt"), cert);
    },
  },
  {
    title: "the certificate a second before the key",
    prepare: plain,
    rotate: async (files, { cert, key }) => {
      await renameOver(files.path("certs/tls.crt"), cert);
      await delay(1_000);
      await renameOver(files.path("certs/tls.key"), key);
    },
  },
  {
    title: "certbot's links from live/ to archive/, one turned after the other",
    prepare: async (files, issued) => {
      await mkdir(files.path("live/site"), { recursive: true });
      await mkdir(files.path("archive"));
      for (const [name, content] of [["fullchain", issued.cert], ["privkey", issued.key]] as const) {
        await files.write(`archive/${name}0.pem`, content);
        await symlink(`../../archive/${name}0.pem`, files.path(`live/site/${name}.pem`));
      }
      return [files.path("live/site/fullchain.pem"), files.path("live/site/privkey.pem")];
    },
    rotate: async (files, issued) => {
      revision++;
      for (const [name, content] of [["privkey", issued.key], ["fullchain", issued.cert]] as const) {
        await files.write(`archive/${name}${revision}.pem`, content);
        await unlink(files.path(`live/site/${name}.pem`));
        await symlink(`../../archive/${name}${revision}.pem`, files.path(`live/site/${name}.pem`));
      }
    },
  },
  {
    // What the kubelet's AtomicWriter does, in its order.
    title: "a Kubernetes secret volume, ..data turned to a new directory",
    prepare: async (files, issued) => {
      await writePair(files.path("volume/..2026_01"), issued);
      await symlink("..2026_01", files.path("volume/..data"));
      for (const name of ["tls.crt", "tls.key"]) await symlink(`..data/${name}`, files.path(`volume/${name}`));
      return [files.path("volume/tls.crt"), files.path("volume/tls.key")];
    },
    rotate: async (files, issued) => {
      const old = await readlink(files.path("volume/..data"));
      const next = `..2026_rotation_${++revision}`;
      await writePair(files.path(`volume/${next}`), issued);
      await linkOver(next, files.path("volume/..data"));
      await rm(files.path(`volume/${old}`), { recursive: true });
    },
  },
  {
    title: "the directory renamed away and another renamed in",
    prepare: plain,
    rotate: async (files, issued) => {
      await writePair(files.path("next"), issued);
      await rename(files.path("certs"), files.path(`old${++revision}`));
      await rename(files.path("next"), files.path("certs"));
    },
  },
  {
    title: "the directory deleted and made anew under its name",
    prepare: plain,
    rotate: async (files, issued) => {
      await rm(files.path("certs"), { recursive: true });
      await writePair(files.path("certs"), issued);
    },
  },
  {
    title: "files deleted and created half a second later",
    prepare: plain,
    rotate: async (files, issued) => {
      for (const name of ["tls.crt", "tls.key"]) await unlink(files.path(`certs/${name}`));
      await delay(500);
      await writePair(files.path("certs"), issued);
    },
  },
  {
    title: "a directory that is a link, turned, above a directory that is a link",
    prepare: async (files, issued) => {
      await writePair(files.path("releases/0/tls"), issued);
      await symlink("0", files.path("releases/current"));
      await symlink(files.path("releases/current/tls"), files.path("certs"));
      return [files.path("certs/tls.crt"), files.path("certs/tls.key")];
    },
    rotate: async (files, issued) => {
      await writePair(files.path(`releases/${++revision}/tls`), issued);
      await linkOver(String(revision), files.path("releases/current"));
    },
  },
  {
    // Caddy keeps <issuer>/<name>/<name>.crt and .key.
    title: "Caddy's layout, each file written anew at its place",
    prepare: async (files, issued) => {
      const directory = files.path("certificates/acme.example/site.example");
      await mkdir(directory, { recursive: true });
      const paths = [join(directory, "site.example.crt"), join(directory, "site.example.key")] as [string, string];
      await writeFile(paths[0], issued.cert);
      await writeFile(paths[1], issued.key);
      return paths;
    },
    rotate: async (files, { cert, key }) => {
      const path = files.path("certificates/acme.example/site.example/site.example");
      await renameOver(`${path}.key`, key);
      await renameOver(`${path}.crt`, cert);
    },
  },
  {
    title: "lego's layout, each file written over in place",
    prepare: async (files, issued) => {
      await mkdir(files.path("certificates"));
      return [
        await files.write("certificates/site.example.crt", issued.cert),
        await files.write("certificates/site.example.key", issued.key),
      ];
    },
    rotate: async (files, { cert, key }) => {
      await files.write("certificates/site.example.crt", cert);
      await files.write("certificates/site.example.issuer.crt", authority.cert);
      await files.write("certificates/site.example.key", key);
      await files.write("certificates/site.example.json", "{}");
    },
  },
  {
    title: "garbage between two good versions",
    prepare: plain,
    rotate: async (files, issued, reloader) => {
      const rejected = nextEvent(reloader, "reject").then(() => reloader.status());
      await renameOver(files.path("certs/tls.crt"), "garbage");
      const { lastError, failuresInARow, inSync } = await rejected;
      assertEquals([lastError?.code, failuresInARow, inSync], ["NO_CERTIFICATE", 1, false]);
      await writePair(files.path("certs"), issued);
    },
  },
];

for (const [way, options] of [["events", BY_EVENTS], ["polling", BY_POLLING]] as const) {
  for (const { title, prepare, rotate } of scripts) {
    test(`Reloader.watch() by ${way}: ${title}`, () =>
      withFiles(async (files) => {
        const rotating = await RotatingServer.start(...await prepare(files, v1), options);
        for (const next of [v2, v3]) {
          await rotate(files, next, rotating.reloader);
          assertEquals(await rotating.servedAfterSwapTo(next), next.fingerprint256);
          const { fingerprint256, failuresInARow, inSync, generation } = rotating.reloader.status();
          assertEquals([fingerprint256, failuresInARow, inSync], [next.fingerprint256, 0, true]);
          assertEquals(generation, rotating.state.generation);
        }
        const { served, failed } = await rotating.stop();
        assertEquals(failed, 0);
        // A visitor may miss a version, but sees none twice and none of an unknown pair.
        const seen = versions.map(({ fingerprint256 }) => fingerprint256).filter((each) => served.includes(each));
        assertEquals(served, seen);
      }));
  }

  test(`Reloader.watch() by ${way}: a chain-only change is served whole`, () =>
    withFiles(async (files) => {
      const bare = v1.cert.slice(0, v1.cert.indexOf("-----END CERTIFICATE-----\n") + 26);
      const rotating = await RotatingServer.start(...await plain(files, { ...v1, cert: bare }), options);
      const client = await OpensslClient.create();
      const served = async () => {
        const { output } = await client.run(rotating.server.port, { args: ["-showcerts"] });
        return output.match(/-----BEGIN CERTIFICATE-----/g)?.length;
      };
      assertEquals(await served(), 1);
      for (const [cert, length] of [[v1.cert, 2], [bare, 1]] as const) {
        const swapped = nextEvent(rotating.reloader, "swap");
        await renameOver(files.path("certs/tls.crt"), cert);
        await swapped;
        assertEquals(await served(), length);
      }
      await client[Symbol.asyncDispose]();
      assertEquals((await rotating.stop()).failed, 0);
    }));

  test(`Reloader.watch() by ${way}: a key written in another form is not a change, another key is rejected`, () =>
    withFiles(async (files) => {
      const rotating = await RotatingServer.start(...await plain(files, v1), options);
      const unchanged = nextEvent(rotating.reloader, "unchanged");
      const sameKey = opensslText("ec -in FILE", v1.key);
      await renameOver(files.path("certs/tls.key"), sameKey);
      await unchanged;
      const rejected = nextEvent(rotating.reloader, "reject");
      await renameOver(files.path("certs/tls.key"), v2.key);
      await rejected;
      const { failuresInARow, lastError, inSync, generation } = rotating.reloader.status();
      assertEquals([lastError?.code, inSync, generation], ["KEY_MISMATCH", false, 0]);
      assert(failuresInARow > 0);
      const healed = nextEvent(rotating.reloader, "unchanged");
      await renameOver(files.path("certs/tls.key"), sameKey);
      await healed;
      assertEquals([rotating.reloader.status().failuresInARow, rotating.reloader.status().inSync], [0, true]);
      assertEquals(await rotating.stop(), { served: [v1.fingerprint256], failed: 0 });
    }));

  test(`Reloader.watch() by ${way}: a touched file is read and loads nothing`, () =>
    withFiles(async (files) => {
      const rotating = await RotatingServer.start(...await plain(files, v1), options);
      for (let count = 0; count < 2; count++) {
        const looked = rotating.looked();
        await delay(5); // the resolution of the clock
        await utimes(files.path("certs/tls.crt"), new Date(), new Date());
        await looked;
      }
      assertEquals(rotating.reloader.status().reloads, { swapped: 0, unchanged: 1, pending: 0, rejected: 0 });
      assertEquals(await rotating.stop(), { served: [v1.fingerprint256], failed: 0 });
    }));

  test(`Reloader.watch() by ${way}: a missing file is not a change, and the status names it`, () =>
    withFiles(async (files) => {
      const [cert, key] = await plain(files, v1);
      const rotating = await RotatingServer.start(cert, key, options);
      await unlink(cert);
      await until(() => rotating.reloader.status().watches[0]!.missing.length > 0);
      const { watches, inSync, reloads } = rotating.reloader.status();
      assertEquals([watches[0]?.missing, inSync], [[cert], false]);
      assertEquals(reloads, { swapped: 0, unchanged: 1, pending: 0, rejected: 0 });
      await writePair(dirname(cert), v2);
      assertEquals(await rotating.servedAfterSwapTo(v2), v2.fingerprint256);
      assertEquals(rotating.reloader.status().watches[0]?.missing, []);
      await rotating.stop();
    }));

  test(`Reloader.watch() by ${way}: 200 rotations as fast as the disk can, and the last one is served`, () =>
    withFiles(async (files) => {
      const [cert, key] = await plain(files, v1);
      const rotating = await RotatingServer.start(cert, key, options);
      for (let count = 1; count <= 200; count++) {
        const next = count < 200 ? versions[count % 2]! : v3;
        await renameOver(key, next.key);
        await renameOver(cert, next.cert);
      }
      assertEquals(await rotating.servedAfterSwapTo(v3), v3.fingerprint256);
      assertEquals((await rotating.stop()).failed, 0);
    }));
}

test("Reloader.watch() keeps one watch on a directory that is replaced and that several reloaders watch", {
  skip: NO_INOTIFY,
}, () =>
  withFiles(async (files) => {
    const [cert, key] = await plain(files, v1);
    const before = await inotifyWatches();
    const options = { pollIntervalMs: 1, settleMs: 1 };
    const servers = [
      await RotatingServer.start(cert, key, options),
      await RotatingServer.start(cert, key, options),
    ] as const;
    for (let count = 0; count < 10; count++) {
      const next = versions[(count + 1) % 3]!;
      await rm(dirname(cert), { recursive: true });
      await writePair(dirname(cert), next);
      for (const server of servers) {
        assertEquals(await server.servedAfterSwapTo(next), next.fingerprint256);
        for (let looks = 0; looks < 5; looks++) await server.looked();
      }
      assertEquals(await inotifyWatches() - before, 1);
    }
    await servers[0].stop();
    assertEquals(await inotifyWatches() - before, 1);
    await servers[1].stop();
    assertEquals(await inotifyWatches(), before);
  }));

test("Reloader.watch() reloads two reloaders by events each time their directory is replaced", () =>
  withFiles(async (files) => {
    const [cert, key] = await plain(files, v1);
    const servers = [
      await RotatingServer.start(cert, key, BY_EVENTS),
      await RotatingServer.start(cert, key, BY_EVENTS),
    ];
    for (const next of [v2, v3, v1]) {
      await rm(dirname(cert), { recursive: true });
      await writePair(dirname(cert), next);
      for (const server of servers) assertEquals(await server.servedAfterSwapTo(next), next.fingerprint256);
    }
    for (const server of servers) assertEquals((await server.stop()).failed, 0);
  }));

test("Reloader.watch() polls where a watch is lost with its directory and another watcher does not notice", () =>
  withFiles(async (files) => {
    const [cert, key] = await plain(files, v1);
    const rotating = await RotatingServer.start(cert, key, BY_POLLING);
    // On Deno and Bun no watch of this path comes to life again as long as this one is held.
    const other = watch(dirname(cert));
    for (const next of [v2, v3]) {
      await rm(dirname(cert), { recursive: true });
      await writePair(dirname(cert), next);
      assertEquals(await rotating.servedAfterSwapTo(next), next.fingerprint256);
    }
    for (const next of [v1, v2]) {
      await renameOver(key, next.key);
      await renameOver(cert, next.cert);
      assertEquals(await rotating.servedAfterSwapTo(next), next.fingerprint256);
    }
    other.close();
    assertEquals((await rotating.stop()).failed, 0);
  }));

test(
  "Reloader.watch() reports a FIFO, which it does not read, and then a file that stays missing",
  { skip: NO_INOTIFY },
  () =>
    withFiles(async (files) => {
      const [cert, key] = [await files.write("cert", v1.cert), files.path("key")];
      execFileSync("mkfifo", [key]);
      const config = new TlsConfig({ cert: v1.cert, key: v1.key });
      const reloader = new Reloader(new TlsState(config), () => Promise.resolve(config));
      const messages: string[] = [];
      reloader.addEventListener("degraded", (event) => {
        event.preventDefault();
        messages.push(event.detail.message);
      });
      const isReported = nextEvent(reloader, "degraded");
      reloader.watch([cert, key], BY_POLLING);
      await isReported;
      const [status] = reloader.status().watches;
      assertMatch(
        status!.degraded!,
        /^Cannot see changes of ".*key": it is a FIFO, .*; write a regular file, or reload /,
      );
      assertEquals([status!.missing, reloader.status().inSync], [[], true]);
      assert(reloader.metrics().includes("\ntls_reload_watch_degraded 1\n"));
      await unlink(cert);
      while (messages.length < 2) await nextEvent(reloader, "degraded");
      assertEquals(messages, [
        status!.degraded,
        `${status!.degraded}. Cannot find "${cert}": what was loaded before stays in use until the files are back`,
      ]);
      await reloader.close();
    }),
);
