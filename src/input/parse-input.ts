// Parses data from outside. An error lists every problem with its field, value and fix.

import type * as z from 'zod';
import { InvalidInput } from '../errors.ts';
import { isTooDeep, MAX_LEVELS } from './depth.ts';
import { describeIssues, type Problem, pathText } from './issue-text.ts';

/** How to parse, and what the messages may contain. */
export interface InputOptions {
  /**
   * Whether messages may repeat values of the input. `hidden` wherever a part of it may be secret:
   * environment variables, keys, tokens, headers, request bodies.
   */
  readonly values: 'shown' | 'hidden';
  /** The path of the value in what the user wrote. */
  readonly at?: readonly PropertyKey[];
}

/** The parsed data, or what is wrong: one `FIELD: PROBLEM; FIX` for each problem. */
export type CheckedInput<T> =
  | { readonly success: true; readonly data: T }
  | { readonly success: false; readonly problems: readonly string[] };

/** Parses without throwing. */
export function checkInput<T>(schema: z.ZodType<T>, value: unknown, options: InputOptions): CheckedInput<T> {
  if (isTooDeep(value)) {
    return { success: false, problems: [`is nested in more than ${MAX_LEVELS} levels; flatten it`] };
  }
  // An empty message marks the issues whose schema has no message of its own.
  const parsed = schema.safeParse(value, { reportInput: true, error: () => '' });
  if (parsed.success) return parsed;
  const { at = [], values } = options;
  const problems = describeIssues(parsed.error.issues, at, { schema, values }, MAX_DESCRIBED);
  return { success: false, problems: [...new Set(problems.map(problemText))] };
}

/**
 * Parses; `where` names the source: a file, a flag or an object.
 * @throws InvalidInput with all problems. It has no cause, which would contain the values
 */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown, where: string, options: InputOptions): T {
  const checked = checkInput(schema, value, options);
  if (checked.success) return checked.data;
  throw new InvalidInput(joinProblems(where, checked.problems));
}

function problemText({ path, text }: Problem): string {
  return path.length === 0 ? text : `${pathText(path)}: ${text}`;
}

/** How many problems one message lists. */
export const MAX_PROBLEMS = 10;
/** How many are described at all: whoever sends the value decides how many it has. */
export const MAX_DESCRIBED = 100;

/** One problem behind its source, or a list with one problem per line. */
export function joinProblems(where: string, problems: readonly string[]): string {
  const start = where === '' ? '' : `${where}: `;
  const [only] = problems;
  if (problems.length === 1) return `${start}${only}`;
  const more = problems.length - MAX_PROBLEMS;
  const orMore = problems.length < MAX_DESCRIBED ? '' : ' or more';
  return [
    `${start}${problems.length}${orMore} problems:`,
    ...problems.slice(0, MAX_PROBLEMS).map((problem) => `  - ${problem}`),
    ...(more > 0 ? [`  and ${more}${orMore === '' ? ' more' : orMore}`] : []),
  ].join('\n');
}
