// The result of observing one check, and the evidence for it in a form for people.

import { truncate } from '../api/truncate.ts';

/** The result of one observation. A check that cannot be observed does not pass. */
export interface Observation {
  readonly name: string;
  readonly passing: boolean;
  /** What was observed, cut to 2048 characters. */
  readonly observed?: string;
  /** Why the check could not be observed or evaluated. */
  readonly error?: string;
  /** RFC 3339. */
  readonly time: string;
  /** The API server refused the verify identity. New role bindings take a moment to work. */
  readonly forbidden?: boolean;
  /** The parts of the reading to keep as baseline, as JSON. Only set before the first command. */
  readonly reading?: string;
}

/** Something that a check names cannot be read. The message says what, and why. */
export class CheckUnreadable extends Error {
  readonly forbidden: boolean;
  constructor(message: string, options: { forbidden?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CheckUnreadable';
    this.forbidden = options.forbidden ?? false;
  }
}

const MAX_OBSERVED = 2048;
const MAX_ERROR = 1024;

/** An observation with its texts cut to the lengths that the status allows. */
export function observation(name: string, time: string, result: Omit<Observation, 'name' | 'time'>): Observation {
  return {
    name,
    time,
    passing: result.passing,
    ...(result.observed === undefined ? {} : { observed: truncate(result.observed, MAX_OBSERVED) }),
    ...(result.error === undefined ? {} : { error: truncate(result.error, MAX_ERROR) }),
    ...(result.forbidden ? { forbidden: true } : {}),
    ...(result.reading === undefined ? {} : { reading: result.reading }),
  };
}

const PATH = /\b(?:objects?|body|status|samples|baseline)\b(?:\.[A-Za-z_]\w*|\["[^"\\]*"\])*/g;

/**
 * The values that an expression uses, which show why it was true or false:
 * `object.spec.replicas = 2`. All variables, if the expression names no part of them.
 */
export function evidence(expression: string, variables: Readonly<Record<string, unknown>>): string {
  const lines = new Map<string, string>();
  for (const match of expression.matchAll(PATH)) {
    let path = match[0];
    // `body.stores.all(` calls a method on `body.stores`.
    if (expression.charAt((match.index ?? 0) + path.length) === '(') path = path.replace(/\.[A-Za-z_]\w*$/, '');
    if (expression.charAt((match.index ?? 0) - 1) === '.') continue;
    const root = path.match(/^\w+/)?.[0] ?? '';
    if (!(root in variables)) continue;
    lines.set(path, `${path} = ${formatValue(valueAt(variables, path))}`);
  }
  if (lines.size === 0)
    return Object.entries(variables)
      .map(([name, value]) => `${name} = ${formatValue(value)}`)
      .join('; ');
  return [...lines.values()].join('; ');
}

function valueAt(variables: Readonly<Record<string, unknown>>, path: string): unknown {
  const segments = path.match(/[A-Za-z_]\w*|\["[^"\\]*"\]/g) ?? [];
  let value: unknown = variables;
  for (const segment of segments) {
    const key = segment.startsWith('[') ? segment.slice(2, -2) : segment;
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function formatValue(value: unknown): string {
  return value === undefined ? '(absent)' : truncate(JSON.stringify(value), 700);
}
