import { TlsState } from "../accept/tls_state.ts";
import { requireOptions, requirePath } from "../arguments.ts";
import { certificatesIn } from "../config/certificates_in.ts";
import type { CertifiedKey } from "../config/certified_key.ts";
import { sourcesOf } from "../config/client_auth.ts";
import { requireExpectation, requireExpected } from "../config/expectation.ts";
import type { CertifiedKeyFiles } from "../config/load_certified_keys.ts";
import { loadTlsConfig } from "../config/load_tls_config.ts";
import { OPTION_HINTS, OPTION_NAMES, type TlsConfigOptions } from "../config/options.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { RELOADER_OPTION_NAMES, type ReloaderOptions, type WatchOptions } from "./options.ts";
import { Reloader } from "./reloader.ts";
import type { ReloaderStatus } from "./status.ts";

/** The options of {@linkcode reloadTls}: those of the configuration, of the reloader, and of the watch. */
export interface ReloadTlsOptions extends TlsConfigOptions<string | URL>, ReloaderOptions, Partial<CertifiedKeyFiles> {
  /** Several certificates with their keys, the default first, in place of `cert`, `key` and `passphrase`. */
  readonly certifiedKeys?: readonly CertifiedKeyFiles[] | undefined;
  /**
   * A folder of certificates with their keys, as `certificatesIn()` reads it, in place of `cert`, `key` and
   * `passphrase`.
   */
  readonly folder?: string | URL | undefined;
  /** How the files are watched, client authorities included. `false` does not watch them. */
  readonly watch?: WatchOptions | false | undefined;
  /** Reloads when the process receives this signal, such as `"SIGHUP"`. */
  readonly onSignal?: NodeJS.Signals | undefined;
}

/** The result of {@linkcode reloadTls}. Disposing of it closes the reloader; servers keep their configuration. */
export interface ReloadingTls extends AsyncDisposable {
  /** The state, for `attach()`, `serve()`, `listenTls()` or `acceptor()`. */
  readonly state: TlsState;
  /** The reloader, for events and further triggers. */
  readonly reloader: Reloader;
  /** The status, read now. */
  status(): ReloaderStatus;
  /** Closes the reloader. */
  close(): Promise<void>;
}

const NAMES = [
  "cert",
  "key",
  "passphrase",
  "certifiedKeys",
  "folder",
  "watch",
  "onSignal",
  ...OPTION_NAMES,
  ...RELOADER_OPTION_NAMES,
];

/**
 * Loads certificate and key, proves that they can serve, and keeps them in sync with their files. This is
 * `loadTlsConfig()`, {@linkcode TlsState} and {@linkcode Reloader} in one call.
 *
 * @param options The files, the settings and the triggers.
 * @returns The state and the reloader.
 * @throws {TlsReloadError} Every error of `loadTlsConfig()`, and `UNSUPPORTED` if the signal cannot be caught.
 * @throws {TypeError} If an option is unknown or invalid.
 *
 * @example
 * ```ts ignore
 * import { serve } from "@x/tls-reload/deno";
 * import { reloadTls } from "@x/tls-reload/reload";
 *
 * const tls = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem", onSignal: "SIGHUP" });
 * serve(tls.state, { port: 8443 }, () => new Response("hello\n"));
 * ```
 */
export async function reloadTls(options: ReloadTlsOptions): Promise<ReloadingTls> {
  requireOptions("reloadTls", options, NAMES, OPTION_HINTS);
  const { cert, key, passphrase, certifiedKeys, folder, watch = {}, onSignal, ...rest } = options;
  const { signal, logger, pendingLimitMs, expiryAlarms, expect, expectUnused, ...configOptions } = rest;
  const source = sourceOf({ cert, key, passphrase, certifiedKeys, folder });
  const load = async (previous?: TlsConfig, onError?: (error: unknown) => void) => {
    return await loadTlsConfig(await source.files(previous, onError), configOptions);
  };
  const first = await load();
  if (expect !== undefined) {
    requireExpectation(expect);
    await requireExpected(first, expect);
  }
  const state = new TlsState(first);
  const reloader = new Reloader(state, load, { signal, logger, pendingLimitMs, expiryAlarms, expect, expectUnused });
  try {
    const { ca, crl, intermediates } = configOptions.clientAuth ?? {};
    const paths = [...source.paths, ...[ca, crl, intermediates].flatMap((each) => sourcesOf(each))];
    if (watch !== false) reloader.watch(paths, watch);
    if (onSignal !== undefined) reloader.onSignal(onSignal);
  } catch (error) {
    await reloader.close();
    throw error;
  }
  const close = () => reloader.close();
  return { state, reloader, status: () => reloader.status(), close, [Symbol.asyncDispose]: close };
}

type SourceOptions = {
  readonly [Name in "cert" | "key" | "passphrase" | "certifiedKeys" | "folder"]: ReloadTlsOptions[Name] | undefined;
};
type CertifiedKeySource = CertifiedKey | CertifiedKeyFiles;

/** Where certificates and keys come from. */
interface Source {
  /** The paths that are watched. */
  readonly paths: readonly (string | URL)[];
  /** Finds what is loaded. */
  files(
    previous: TlsConfig | undefined,
    onError: ((error: unknown) => void) | undefined,
  ): Promise<readonly CertifiedKeySource[]> | readonly CertifiedKeySource[];
}

/** Chooses between a folder, several pairs, and one pair. */
function sourceOf({ cert, key, passphrase, certifiedKeys, folder }: SourceOptions): Source {
  if (certifiedKeys !== undefined && folder !== undefined) {
    throw new TypeError("Cannot call reloadTls: 'folder' takes the place of 'certifiedKeys'");
  }
  const several = folder !== undefined ? "folder" : "certifiedKeys";
  if ((certifiedKeys ?? folder) !== undefined && (cert ?? key ?? passphrase) !== undefined) {
    throw new TypeError(`Cannot call reloadTls: '${several}' takes the place of 'cert', 'key' and 'passphrase'`);
  }
  if (folder !== undefined) {
    return { paths: [folder], files: (previous, onError) => certificatesIn(folder, { previous, onError }) };
  }
  if (certifiedKeys !== undefined) return fixedSource(certifiedKeys);
  requirePath("reloadTls", "cert", cert);
  requirePath("reloadTls", "key", key);
  return fixedSource([{ cert: cert!, key: key!, passphrase }]);
}

function fixedSource(files: readonly CertifiedKeyFiles[]): Source {
  return { paths: files.flatMap(({ cert, key }) => [cert, key]), files: () => files };
}
