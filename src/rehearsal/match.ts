// Matches rules against steps: yields every combination of captures for which all conditions hold.

import type { Step } from './conversation.ts';
import type { Clause, Condition, Rule, RuleBook } from './rule.ts';

/** The values captured by conditions so far. */
export type Captures = Readonly<Record<string, string>>;

const escapeRegExp = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&');

/** Inserts captures into a text. A name without a capture remains unchanged. */
export function fill(text: string, captures: Captures, quote: (value: string) => string = (value) => value): string {
  return text.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => {
    const value = captures[name];
    return value === undefined ? whole : quote(value);
  });
}

function compile(pattern: string, captures: Captures, flags: string): RegExp {
  return new RegExp(fill(pattern, captures, escapeRegExp), flags);
}

function merged(captures: Captures, groups: Record<string, string | undefined> | undefined): Captures {
  return {
    ...captures,
    ...Object.fromEntries(Object.entries(groups ?? {}).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]]))),
  };
}

/** The captures for which a condition holds. */
function* matchCondition(
  condition: Condition,
  steps: readonly Step[],
  state: number,
  captures: Captures,
): Generator<Captures> {
  const ran = compile(condition.ran, captures, 'm');
  const step = steps.findLast((it) => (condition.ever || it.state === state) && ran.test(it.command));
  if (step === undefined) return;
  if (condition.exit !== undefined && step.exit !== condition.exit) return;
  const known = merged(captures, ran.exec(step.command)?.groups);
  if (condition.every !== undefined) {
    const line = compile(condition.every, known, '');
    const lines = step.stdout.split('\n').filter((it) => it.trim() !== '');
    if (lines.length === 0 || !lines.every((it) => line.test(it))) return;
  }
  if (condition.output === undefined) yield known;
  else {
    const text = `${step.stdout}\n${step.stderr}`;
    for (const match of text.matchAll(compile(condition.output, known, 'gm'))) yield merged(known, match.groups);
  }
}

function* matchAll(
  clauses: readonly Clause[],
  book: RuleBook,
  steps: readonly Step[],
  state: number,
  captures: Captures,
): Generator<Captures> {
  const [first, ...rest] = clauses;
  if (first === undefined) {
    yield captures;
    return;
  }
  const ways =
    'is' in first
      ? matchAll(book.groups[first.is] ?? [], book, steps, state, captures)
      : matchCondition(first, steps, state, captures);
  for (const way of ways) yield* matchAll(rest, book, steps, state, way);
}

function compare(comparison: string): boolean {
  const [, left, operator, right] = /^(\S+) (<|<=|==|!=|>=|>) (\S+)$/.exec(comparison) ?? [];
  if (left === undefined || right === undefined) return false;
  const numbers = /^\d+$/.test(left) && /^\d+$/.test(right);
  const order = numbers ? Number(left) - Number(right) : left < right ? -1 : left > right ? 1 : 0;
  switch (operator) {
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '>=':
      return order >= 0;
    default:
      return order > 0;
  }
}

/** The captures for which a rule's `when` holds. */
export function* matchRule(rule: Rule, book: RuleBook, steps: readonly Step[]): Generator<Captures> {
  const state = steps.at(-1)?.state ?? 0;
  const { all, none, where, changed } = rule.when;
  if (changed !== undefined && changed !== state > 0) return;
  for (const captures of matchAll(all, book, steps, state, {})) {
    if (!where.every((comparison) => compare(fill(comparison, captures)))) continue;
    const excluded = none.some((clause) => !matchAll([clause], book, steps, state, captures).next().done);
    if (!excluded) yield captures;
  }
}
