// Certificates that Vault issues, by its PKI engine: a new one when two thirds of the life of the last have passed. The
// key is never written to a disk. The token needs the capability `update` on `MOUNT/issue/ROLE`.
import { setTimeout as delay } from "node:timers/promises";
import { TlsConfig } from "@x/tls-reload";

/** What the engine answers. */
interface Issued {
  readonly certificate: string;
  readonly ca_chain?: readonly string[];
  readonly private_key: string;
  /** In seconds since 1970. */
  readonly expiration: number;
}

/** Where Vault is, and what to ask it for. */
export interface VaultOptions {
  readonly address: string;
  /** Such as `pki/issue/www`. */
  readonly path: string;
  readonly commonName: string;
  /** Read for each request, because tokens are renewed. */
  readonly token: () => string | Promise<string>;
}

/** A role of Vault: `new Reloader(state, load).follow(source.certificates, { toConfig: source.toConfig })`. */
export function vaultSource({ address, path, commonName, token }: VaultOptions) {
  async function issue(signal: AbortSignal): Promise<Issued> {
    const response = await fetch(`${address}/v1/${path}`, {
      method: "POST",
      headers: { "x-vault-token": await token() },
      body: JSON.stringify({ common_name: commonName, private_key_format: "pkcs8" }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(30_000)]),
    });
    if (!response.ok) throw new Error(`Vault answers ${response.status}`);
    return (await response.json()).data;
  }

  async function* certificates(signal: AbortSignal): AsyncGenerator<Issued> {
    for (;;) {
      const issued = await issue(signal);
      yield issued;
      const lifeMs = issued.expiration * 1_000 - Date.now();
      // Not longer than a timer can wait; a certificate too many does no harm.
      await delay(Math.min(Math.max(lifeMs * 2 / 3, 1_000), 2 ** 31 - 1), undefined, { signal, ref: false });
    }
  }

  const toConfig = ({ certificate, ca_chain = [], private_key }: Issued) =>
    new TlsConfig({ cert: [certificate, ...ca_chain].join("\n"), key: private_key });
  return { certificates, toConfig };
}
