/**
 * Calls a function for each entry, in their order and for a few of them at once. After an error no more calls begin.
 *
 * @throws {unknown} The first error.
 */
export async function forEachConcurrently<Entry>(
  entries: readonly Entry[],
  limit: number,
  handle: (entry: Entry, index: number) => Promise<void>,
): Promise<void> {
  let hasFailed = false;
  const queue = entries.entries();
  const work = async () => {
    for (const [index, entry] of queue) {
      if (hasFailed) return;
      await handle(entry, index);
    }
  };
  const workers = Array.from({ length: limit }, work);
  await Promise.all(workers).catch((error) => {
    hasFailed = true;
    throw error;
  });
}
