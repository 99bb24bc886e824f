// How deeply a value from outside is nested.

/**
 * The levels that are accepted. What reads, redacts and hashes a value goes into it level by level,
 * and the stack of one process may hold a value that breaks the next one that reads it. Objects of
 * Kubernetes have some 20 levels.
 */
export const MAX_LEVELS = 200;

/** Whether a value has more levels of lists and maps than are accepted. Takes cycles, too. */
export function isTooDeep(value: unknown): boolean {
  return typeof value === 'object' && value !== null && hasMoreLevels(value, 1, new Map());
}

/**
 * Goes no deeper than is accepted, so it may call itself.
 * @param seen the deepest level of what was walked: aliases of YAML make one map part of several
 */
function hasMoreLevels(part: object, level: number, seen: Map<object, number>): boolean {
  if (level > MAX_LEVELS) return true;
  let isNoted = false;
  for (const inner of Array.isArray(part) ? part : Object.values(part)) {
    if (typeof inner !== 'object' || inner === null) continue;
    // A body can have a million parts without an inner one; remembering each would take seconds.
    if (!isNoted) {
      if ((seen.get(part) ?? 0) >= level) return false;
      seen.set(part, level);
      isNoted = true;
    }
    if (hasMoreLevels(inner, level + 1, seen)) return true;
  }
  return false;
}
