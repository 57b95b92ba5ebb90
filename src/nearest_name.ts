/** The longest name that a suggestion is made for. The time to compare grows with the square of the length. */
const MAX_NAME_LENGTH = 40;
/** The maximum number of letters in which a misspelt name may differ from the suggested one. */
const MAX_DISTANCE = 3;

/**
 * Finds the name that a user has probably meant.
 *
 * @returns The known name with the fewest different letters; `undefined` if none is similar.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_NAME_LENGTH) return undefined;
  const lower = name.toLowerCase();
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: distanceBetween(lower, candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= MAX_DISTANCE && distance < candidate.length / 2)
    .sort((one, other) => one.distance - other.distance);
  return nearest?.candidate;
}

/** The Levenshtein distance: the number of letters to insert, delete or replace. */
function distanceBetween(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = above[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, above[column]! + 1, current[column - 1]! + 1));
    }
    above = current;
  }
  return above[to.length]!;
}
