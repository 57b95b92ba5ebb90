/**
 * The moments of one drain: when each connection of a native server is to end gently, spread evenly over `gentleMs`.
 *
 * There is no list of connections, because native servers show a connection by its requests only. So a moment is a
 * function of the client's address, and the same at each request.
 */
export class DrainMoments {
  readonly #gentleMs: number;
  readonly #begin = performance.now();
  readonly #salt = Math.random();

  /** @param gentleMs Over what time the moments are spread, from now on. */
  constructor(gentleMs: number) {
    this.#gentleMs = gentleMs;
  }

  /** Whether the moment of a client's connection has come. */
  hasCome(address: string | undefined, port: number | undefined): boolean {
    const elapsedMs = performance.now() - this.#begin;
    return elapsedMs >= this.#gentleMs * spreadOf(`${address} ${port}`, this.#salt);
  }
}

/**
 * Where in the time of a drain the moment of a connection is: the same at each call, spread evenly over connections.
 *
 * @param connection What tells the connection from others, such as the address and port of its client.
 * @param salt A number from 0 to 1, drawn for each drain.
 * @returns A number from 0 to 1.
 */
function spreadOf(connection: string, salt: number): number {
  // FNV-1a, and the last steps of MurmurHash3, so that ports that differ by one are far apart.
  let hash = Math.floor(salt * 2 ** 32);
  for (let index = 0; index < connection.length; index++) {
    hash = Math.imul(hash ^ connection.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
