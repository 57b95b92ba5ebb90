import { clearTimeout, setTimeout } from "node:timers";

/** The longest time before a change of the clock, or the end of a sleep of the machine, is noticed. */
const MAX_PAUSE_MS = 1_000;

/**
 * Calls a function once the clock of the machine has reached a time. Timers stop while a machine sleeps and do not
 * notice that the clock was set, so the clock is read again every second. Keeps no process alive.
 *
 * @param at The time.
 * @param callback Called once, never before this function returns.
 * @returns Prevents the call when disposed of.
 */
export function callAt(at: Date, callback: () => void): Disposable {
  let timer: NodeJS.Timeout;
  const look = () => {
    if (Date.now() >= at.getTime()) callback();
    else wait();
  };
  const wait = () => {
    const ms = Math.max(0, at.getTime() - Date.now());
    timer = setTimeout(look, Math.min(ms, MAX_PAUSE_MS)).unref();
  };
  wait();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
