// What a check read before the first command, as far as its CEL asks for it again under the name `baseline`. Pure.

import { MAX_READING } from '../api/incident.ts';
import type { CelVariable } from './cel-protocol.ts';
import { type CelJson, celInput } from './cel-value.ts';

const MENTION = /(?<![\w.])baseline((?:\.[A-Za-z_]\w*|\["[^"\\]*"\])*)/g;

/** Whether an expression compares with what was before. */
export function mentionsBaseline(expression: string): boolean {
  return expression.search(MENTION) !== -1;
}

/** What is kept of a reading, as JSON; or why nothing is. */
export type KeptReading =
  | { readonly type: 'kept'; readonly json: string }
  | { readonly type: 'too-large'; readonly characters: number };

/**
 * The parts of a reading that an expression names behind `baseline`; undefined when it names none.
 * @throws SyntaxError for a variable that is not JSON and has to be
 */
export function keptReading(
  expression: string,
  variables: Readonly<Record<string, CelVariable>>,
): KeptReading | undefined {
  const paths = pathsOf(expression);
  if (paths.length === 0) return undefined;
  const wanted = Object.entries(variables).filter(([name]) => paths.some(([first = name]) => first === name));
  const reading = new Map(wanted.map(([name, variable]) => [name, celInput(variable)]));
  const json = jsonOf(pruned(reading, paths));
  return json.length > MAX_READING ? { type: 'too-large', characters: json.length } : { type: 'kept', json };
}

/** `baseline.body.stores.all(…)` names body, stores. The empty path is all of it. */
function pathsOf(expression: string): string[][] {
  return [...expression.matchAll(MENTION)].map((match) => {
    const path = (match[1] ?? '').match(/[A-Za-z_]\w*|\["[^"\\]*"\]/g) ?? [];
    const names = path.map((segment) => (segment.startsWith('[') ? segment.slice(2, -2) : segment));
    const next = expression.charAt((match.index ?? 0) + match[0].length);
    // What stands before a parenthesis is a method.
    return next === '(' ? names.slice(0, -1) : names;
  });
}

function pruned(value: CelJson, paths: readonly (readonly string[])[]): CelJson {
  if (!(value instanceof Map) || paths.some((path) => path.length === 0)) return value;
  const kept = new Map<string, CelJson>();
  for (const [name, member] of value) {
    const below = paths.filter((path) => path[0] === name).map((path) => path.slice(1));
    if (below.length > 0) kept.set(name, pruned(member, below));
  }
  return kept;
}

/** JSON that reads back as the same CEL values: integers stay integers, doubles stay doubles. */
function jsonOf(value: CelJson): string {
  if (value instanceof Map) {
    return `{${[...value].map(([name, member]) => `${JSON.stringify(name)}:${jsonOf(member)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'number') return JSON.stringify(value);
  if (Number.isNaN(value)) return 'null';
  // JSON has no infinity, but a number that is too large for a double reads back as one.
  if (!Number.isFinite(value)) return value < 0 ? '-1e999' : '1e999';
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
