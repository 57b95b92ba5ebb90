import { EventEmitter } from "node:events";
import { constants, platform } from "node:os";
import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { unsupported } from "../unsupported.ts";

const received = new EventEmitter().setMaxListeners(0);
/** Listens to a signal for all reloaders until the process ends. It replaces the default action of the signal. */
const relay = (signal: NodeJS.Signals) => void received.emit(signal);

/**
 * Calls a listener at each signal. From now on the signal never ends the process, even after the disposal.
 *
 * @returns Stops the calls when disposed of.
 * @throws {TlsReloadError} `UNSUPPORTED` in a worker thread, on Windows, or for a signal that cannot be caught.
 */
export function listenToSignal(signal: NodeJS.Signals, listener: () => void): Disposable {
  // A value that is not a name may be a secret in the wrong place.
  const name = /^SIG[A-Z0-9]{1,20}$/.test(signal) ? signal : "a signal";
  const refuse = (reason: string, cause?: unknown) => unsupported(`reload on ${name}`, reason, cause);
  if (!isMainThread) throw refuse("only the main thread receives signals; watch the files in workers");
  if (platform() === "win32") throw refuse("Windows has no signals; watch the files");
  if (!(signal in constants.signals)) throw refuse("the system has no such signal");
  if (signal === "SIGKILL" || signal === "SIGSTOP") throw refuse("no process can catch it");
  if (!process.listeners(signal).includes(relay)) {
    try {
      process.on(signal, relay);
    } catch (cause) {
      // A runtime may have added the listener before it threw.
      process.removeListener(signal, relay);
      throw refuse("the system does not let it be caught", cause);
    }
  }
  received.on(signal, listener);
  return { [Symbol.dispose]: () => void received.off(signal, listener) };
}
