// What one look at one check found, and how it is told to people.
import { truncate } from '../api/truncate.ts';

/** The result of one look. Whatever could not be seen is not passing. */
export interface Observation {
  readonly name: string;
  readonly passing: boolean;
  /** What was seen, cut to 2 KiB. */
  readonly observed?: string;
  /** Why nothing could be seen or judged. */
  readonly error?: string;
  /** RFC 3339. */
  readonly time: string;
  /** The API server refused the verify identity; rights that were just bound may need a moment. */
  readonly forbidden?: boolean;
  /** What of the reading is kept as the check's baseline, as JSON; only for a look before the first command. */
  readonly reading?: string;
}

/** Something that a check names cannot be read; the message says what and why. */
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

/** An observation with its texts cut to what status may hold. */
export function observation(name: string, time: string, seen: Omit<Observation, 'name' | 'time'>): Observation {
  return {
    name,
    time,
    passing: seen.passing,
    ...(seen.observed === undefined ? {} : { observed: truncate(seen.observed, MAX_OBSERVED) }),
    ...(seen.error === undefined ? {} : { error: truncate(seen.error, MAX_ERROR) }),
    ...(seen.forbidden ? { forbidden: true } : {}),
    ...(seen.reading === undefined ? {} : { reading: seen.reading }),
  };
}

const PATH = /\b(?:objects?|body|status|samples|baseline)\b(?:\.[A-Za-z_]\w*|\["[^"\\]*"\])*/g;

/**
 * The values that an expression looks at, so that a reader sees why it was true or false: `object.spec.replicas = 2`.
 * Falls back to the whole value when the expression names no part of it.
 */
export function evidence(expression: string, variables: Readonly<Record<string, unknown>>): string {
  const lines = new Map<string, string>();
  for (const match of expression.matchAll(PATH)) {
    let path = match[0];
    // `body.stores.all(` calls a method: what is looked at is `body.stores`.
    if (expression.charAt((match.index ?? 0) + path.length) === '(') path = path.replace(/\.[A-Za-z_]\w*$/, '');
    if (expression.charAt((match.index ?? 0) - 1) === '.') continue;
    const root = path.match(/^\w+/)?.[0] ?? '';
    if (!(root in variables)) continue;
    lines.set(path, `${path} = ${shown(valueAt(variables, path))}`);
  }
  if (lines.size === 0)
    return Object.entries(variables)
      .map(([name, value]) => `${name} = ${shown(value)}`)
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

function shown(value: unknown): string {
  return value === undefined ? '(absent)' : truncate(JSON.stringify(value), 700);
}
