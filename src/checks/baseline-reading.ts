// Selects the parts of a check's first reading that its CEL uses later as `baseline`. Pure.

import { MAX_READING } from '../api/incident-status.ts';
import type { CelVariable } from './cel-protocol.ts';
import { type CelJson, celInput } from './cel-value.ts';

const MENTION = /(?<![\w.])baseline((?:\.[A-Za-z_]\w*|\["[^"\\]*"\])*)/g;

/** Whether an expression uses `baseline`. */
export function mentionsBaseline(expression: string): boolean {
  return expression.search(MENTION) !== -1;
}

/** The kept parts of a reading, as JSON, or why nothing is kept. */
export type KeptReading =
  | { readonly type: 'kept'; readonly json: string }
  | { readonly type: 'too-large'; readonly characters: number };

/**
 * The parts of a reading that an expression names after `baseline`; undefined if it names none.
 * @throws SyntaxError for a variable that must be JSON and is not
 */
export function keptReading(
  expression: string,
  variables: Readonly<Record<string, CelVariable>>,
): KeptReading | undefined {
  const paths = findPaths(expression);
  if (paths.length === 0) return undefined;
  const wanted = Object.entries(variables).filter(([name]) => paths.some(([first = name]) => first === name));
  const reading = new Map(wanted.map(([name, variable]) => [name, celInput(variable)]));
  const json = toJson(prune(reading, paths));
  return json.length > MAX_READING ? { type: 'too-large', characters: json.length } : { type: 'kept', json };
}

/** `baseline.body.stores.all(…)` gives the path body, stores. The empty path means everything. */
function findPaths(expression: string): string[][] {
  return [...expression.matchAll(MENTION)].map((match) => {
    const path = (match[1] ?? '').match(/[A-Za-z_]\w*|\["[^"\\]*"\]/g) ?? [];
    const names = path.map((segment) => (segment.startsWith('[') ? segment.slice(2, -2) : segment));
    const next = expression.charAt((match.index ?? 0) + match[0].length);
    // A name before a parenthesis is a method.
    return next === '(' ? names.slice(0, -1) : names;
  });
}

function prune(value: CelJson, paths: readonly (readonly string[])[]): CelJson {
  if (!(value instanceof Map) || paths.some((path) => path.length === 0)) return value;
  const kept = new Map<string, CelJson>();
  for (const [name, member] of value) {
    const below = paths.filter((path) => path[0] === name).map((path) => path.slice(1));
    if (below.length > 0) kept.set(name, prune(member, below));
  }
  return kept;
}

/** JSON that parses to the same CEL values: integers stay integers, doubles stay doubles. */
function toJson(value: CelJson): string {
  if (value instanceof Map) {
    return `{${[...value].map(([name, member]) => `${JSON.stringify(name)}:${toJson(member)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'number') return JSON.stringify(value);
  if (Number.isNaN(value)) return 'null';
  // JSON has no infinity, but a number that is too large for a double parses to infinity.
  if (!Number.isFinite(value)) return value < 0 ? '-1e999' : '1e999';
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
