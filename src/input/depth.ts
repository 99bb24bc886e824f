// How deeply a value from outside is nested.

/**
 * The levels that are accepted. What reads, redacts and hashes a value goes into it level by level,
 * and the stack of one process may hold a value that breaks the next one that reads it. Objects of
 * Kubernetes have some 20 levels.
 */
export const MAX_LEVELS = 200;

/** Whether a value has more levels of lists and maps than are accepted. Takes cycles, too. */
export function isTooDeep(value: unknown): boolean {
  const open: [part: unknown, level: number][] = [[value, 0]];
  /** Aliases of YAML make one map part of several: it is not walked twice from one level. */
  const seen = new Map<object, number>();
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [part, level] = next;
    if (typeof part !== 'object' || part === null || (seen.get(part) ?? -1) >= level) continue;
    if (level === MAX_LEVELS) return true;
    seen.set(part, level);
    for (const inner of Array.isArray(part) ? part : Object.values(part)) open.push([inner, level + 1]);
  }
  return false;
}
