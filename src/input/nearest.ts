// The known name that a mistyped one was probably meant to be. Pure.

/** The number of insertions, deletions, replacements and swaps of neighbours between two texts. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(replaced, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1));
    }
  }
  return at(a.length, b.length);
}

/**
 * The known name that differs from the given one only by case or by a few letters; undefined if
 * none does.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  // Longer texts are not names, and the cost grows with the product of the lengths.
  if (name.length > 64) return undefined;
  const ranked = known
    .filter((candidate) => candidate !== name && candidate.length <= 64)
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  const allowed = name.length <= 3 ? 1 : name.length <= 7 ? 2 : 3;
  return best !== undefined && best.distance <= allowed && best.distance < name.length ? best.candidate : undefined;
}
