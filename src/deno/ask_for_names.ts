import { once } from "node:events";
import { connect } from "node:net";
import { encodeClientHello } from "../config/offered_hello.ts";
import { ServerNameIndex } from "../config/server_names.ts";
import { namedGroups, suitesOf } from "../config/suites_and_groups.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import { choosesByName } from "./named_keys.ts";

/** Far above the few milliseconds that an answer takes. */
const TIMEOUT_MS = 10_000;

/**
 * Asks a server for every name of its configuration by the first message of a handshake, so that it knows their
 * certificates before clients ask.
 *
 * Deno fails the handshake of a client whose name is being resolved for another one, if the answer has come and is not
 * yet stored: a broadcast receiver of denoland/deno `ext/tls/tls_key.rs` subscribes after the only message (Deno 2.9.6;
 * 5 to 10 of 4,000 connections with 20 swaps a second of 50 names). A name that was resolved before is not affected.
 *
 * @param onConnected Called before each message with the port that the connection comes from.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE` if a name gets no answer.
 */
export async function askForNames(
  port: number,
  config: TlsConfig,
  onConnected: (localPort: number) => void = () => {},
): Promise<void> {
  if (!choosesByName(config)) return;
  const names = [...new ServerNameIndex(config.certifiedKeys).dnsNames()].map(([name]) => name);
  const suites = [...suitesOf("TLSv1.3").values()];
  const groups = [...namedGroups().values()];
  await Promise.all(names.map(async (serverName) => {
    const client = connect({ host: "127.0.0.1", port });
    try {
      await once(client, "connect");
      onConnected(client.localPort!);
      client.setTimeout(TIMEOUT_MS, () => client.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      client.write(encodeClientHello({ version: "TLSv1.3", suites, groups, serverName }));
      await once(client, "readable");
      if (client.read() === null) throw new Error("the connection was closed");
    } catch (cause) {
      const message = `Cannot serve: the native server does not answer a client that asks for ${serverName}`;
      throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause });
    } finally {
      client.destroy();
    }
  }));
}
