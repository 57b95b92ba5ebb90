import { Buffer } from "node:buffer";
import { type Duplex, duplexPair } from "node:stream";
import type { Server } from "node:tls";
import { unsupported } from "../unsupported.ts";
import { type ClientOffer, encodeClientHello, isServerHello } from "./offered_hello.ts";
import type { TlsVersion } from "./options.ts";
import type { TlsSettings } from "./settings.ts";
import { namedGroups, suitesOf } from "./suites_and_groups.ts";

/** An offer that a server with the option refuses, and a server without it accepts. */
interface ForbiddenOffer {
  readonly option: "minVersion" | "maxVersion" | "ciphers" | "ecdhCurve";
  readonly offer: ClientOffer;
}

/**
 * Finds the options that the runtime ignores: makes a server the offers that each option forbids. Each offer gets a
 * server of its own, which need not listen.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if the server accepts an offer that an option forbids.
 * @throws {Error} If the server refuses clients of a version that the configuration allows.
 */
export async function requireOptionsHonored(createServer: () => Server, settings: TlsSettings): Promise<void> {
  const forbidden = forbiddenOffers(settings);
  if (forbidden.length === 0) return;
  // Otherwise a server that refuses every offer would pass.
  for (const version of versionsOf(settings)) {
    if (await accepts(createServer(), everythingOf(version))) continue;
    throw new Error(`no client of ${version} can connect: none of the cipher suites and groups fits the key`);
  }
  for (const { option, offer } of forbidden) {
    if (!await accepts(createServer(), offer)) continue;
    throw unsupported("use TLS config", `the runtime ignores '${option}'; leave the option out`);
  }
}

/** The offers that a server with these settings must refuse: an empty list if all options have their defaults. */
export function forbiddenOffers(settings: TlsSettings): ForbiddenOffer[] {
  const { minVersion, maxVersion, ciphers, ecdhCurve } = settings;
  const offers: ForbiddenOffer[] = [];
  if (minVersion === "TLSv1.3") offers.push({ option: "minVersion", offer: everythingOf("TLSv1.2") });
  if (maxVersion === "TLSv1.2") offers.push({ option: "maxVersion", offer: everythingOf("TLSv1.3") });
  for (const version of versionsOf(settings)) {
    const { suites, groups } = everythingOf(version);
    if (ciphers !== undefined) {
      const others = without(suitesOf(version), ciphers);
      const isLimited = others.length < suitesOf(version).size;
      if (isLimited && others.length > 0) {
        offers.push({ option: "ciphers", offer: { version, suites: others, groups } });
      }
    }
    if (ecdhCurve !== undefined) {
      const others = without(namedGroups(), ecdhCurve);
      if (others.length > 0) offers.push({ option: "ecdhCurve", offer: { version, suites, groups: others } });
    }
  }
  return offers;
}

function versionsOf({ minVersion, maxVersion }: TlsSettings): TlsVersion[] {
  return (["TLSv1.2", "TLSv1.3"] as const).filter((version) => minVersion <= version && version <= maxVersion);
}

/** An offer of all groups, and of all suites whose key exchange uses a group. */
function everythingOf(version: TlsVersion): ClientOffer {
  const suites = [...suitesOf(version)].filter(([name]) => /^(?:TLS_|ECDHE-)/.test(name)).map(([, code]) => code);
  return { version, suites, groups: [...namedGroups().values()] };
}

function without(all: ReadonlyMap<string, number>, names: string): number[] {
  const excluded = new Set(names.split(":"));
  return [...all].filter(([name]) => !excluded.has(name)).map(([, code]) => code);
}

async function accepts(server: Server, offer: ClientOffer): Promise<boolean> {
  const [near, far] = duplexPair();
  near.on("error", () => {});
  const refused = new Promise<boolean>((resolve) => server.once("tlsClientError", () => resolve(false)));
  server.emit("connection", near);
  far.write(encodeClientHello(offer));
  try {
    return await Promise.race([readVerdict(far), refused]);
  } finally {
    near.destroy();
    far.destroy();
  }
}

/** Whether the server answers with a ServerHello. */
async function readVerdict(client: Duplex): Promise<boolean> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of client.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    const verdict = isServerHello(Buffer.concat(chunks));
    if (verdict !== undefined) return verdict;
  }
  return false;
}
