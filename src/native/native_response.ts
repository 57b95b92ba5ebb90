/**
 * The class of the runtime. `@hono/node-server` replaces the global one, by another whose responses `Bun.serve` rejects,
 * and of which those of the runtime are no instances.
 */
export const NativeResponse = Response;
