// One sentence for each kind of fault that a schema finds: what the value must be. Pure.

import type * as z from 'zod';
import { nearestName } from './nearest.ts';
import { fieldNames, nodeAt, numberRange, type SchemaNode, unionOptions } from './schema-node.ts';

/** A fault that a schema found. */
export type Issue = z.core.$ZodIssue;

/** What is wrong with one field. */
export interface Problem {
  readonly path: readonly PropertyKey[];
  readonly text: string;
}

/** How to describe values: `hidden` values appear in no message, because they may be secret. */
export interface Description {
  readonly schema: unknown;
  readonly values: 'shown' | 'hidden';
}

/**
 * The problems of one issue. A message that the schema's author wrote is kept; an issue with an
 * empty message gets a sentence from here.
 */
function* describeIssue(issue: Issue, at: readonly PropertyKey[], given: Description): Generator<Problem> {
  const path = [...at, ...issue.path];
  const options: Description = isSecret(path) ? { ...given, values: 'hidden' } : given;
  const node = nodeAt(options.schema, issue.path);
  if (issue.message !== '') {
    yield { path, text: `${issue.message}${shownValue(issue.input, options.values)}` };
    return;
  }
  if (issue.code === 'unrecognized_keys') {
    const known = fieldNames(node?.schema);
    for (const key of issue.keys) yield { path: [...path, key], text: unknownField(key, known) };
    return;
  }
  if (issue.code === 'invalid_union') {
    const best = bestBranch(issue);
    if (best !== undefined) {
      const schema = unionOptions(node?.schema)[best.index];
      for (const inner of best.issues) yield* describeIssue(inner, path, { ...options, schema });
      return;
    }
  }
  const { text, tellsValue } = sentence(issue, node, options);
  yield { path, text: tellsValue ? text : `${text}${shownValue(issue.input, options.values)}` };
}

/**
 * The first problems of several issues, and no more: the sender of a value decides how many there
 * are, and a guess at what an unknown field means takes long.
 */
export function describeIssues(
  issues: readonly Issue[],
  at: readonly PropertyKey[],
  given: Description,
  most: number,
): Problem[] {
  const problems: Problem[] = [];
  for (const issue of issues) {
    for (const problem of describeIssue(issue, at, given)) {
      problems.push(problem);
      if (problems.length === most) return problems;
    }
  }
  return problems;
}

interface Sentence {
  readonly text: string;
  /** Whether the text already says enough about the value. */
  readonly tellsValue?: boolean;
}

/** A code that is not listed here does not compile. */
function sentence(issue: Issue, node: SchemaNode | undefined, options: Description): Sentence {
  switch (issue.code) {
    case 'invalid_type': {
      const expected = TYPES[issue.expected] ?? issue.expected;
      if (issue.input === undefined) return { text: `is required; set it to ${expected}`, tellsValue: true };
      const isOther = options.values === 'hidden' || typeof issue.input === 'object';
      return { text: `must be ${expected}${isOther ? `, not ${typeName(issue.input)}` : ''}`, tellsValue: isOther };
    }
    case 'invalid_value':
      return allowedValues(issue.values, issue.input, options);
    case 'too_big':
    case 'too_small':
      return outOfRange(issue, node);
    case 'invalid_format':
      return { text: `${format(issue)}${explanation(node)}` };
    case 'not_multiple_of':
      return { text: `must be a multiple of ${issue.divisor}` };
    case 'unrecognized_keys':
      return {
        text: issue.keys
          .slice(0, MAX_INNER)
          .map((key) => unknownField(key, fieldNames(node?.schema)))
          .join('; '),
      };
    case 'invalid_union':
      return unionSentence(issue, node, options);
    case 'invalid_key':
      return { text: `the name of the entry is not valid: ${innerTexts(issue.issues, options)}`, tellsValue: true };
    case 'invalid_element': {
      const which = issue.origin === 'map' ? 'the value of an entry' : 'an element';
      return { text: `${which} is not valid: ${innerTexts(issue.issues, options)}`, tellsValue: true };
    }
    case 'custom':
      return { text: `is not a valid value${explanation(node)}` };
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  bigint: 'an integer',
  array: 'a list',
  tuple: 'a list',
  set: 'a set',
  map: 'a map',
  object: 'an object',
  record: 'an object',
  date: 'a date',
  null: 'null',
  undefined: 'absent',
  never: 'absent',
  void: 'absent',
  nan: 'NaN',
  nonoptional: 'a value',
};

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (Number.isNaN(value)) return 'NaN';
  if (typeof value === 'boolean') return 'a boolean';
  if (value instanceof Map) return 'a map';
  if (value instanceof Set) return 'a set';
  return TYPES[typeof value] ?? typeof value;
}

function allowedValues(values: readonly unknown[], input: unknown, options: Description): Sentence {
  const names = values.map((value) => (typeof value === 'string' ? JSON.stringify(value) : String(value)));
  const allowed = names.length === 1 ? `${names[0]}` : `one of ${listed(names)}`;
  if (input === undefined) return { text: `is required; set it to ${allowed}`, tellsValue: true };
  const known = values.filter((value) => typeof value === 'string');
  // The guess is close to the value, so it would tell a hidden one.
  const meant = options.values === 'shown' && typeof input === 'string' ? nearestName(input, known) : undefined;
  return { text: `must be ${allowed}${known.length > 1 && meant !== undefined ? `; did you mean "${meant}"?` : ''}` };
}

function listed(names: readonly string[]): string {
  const shown = names.length > 30 ? [...names.slice(0, 30), `${names.length - 30} more`] : names;
  return `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`;
}

type RangeIssue = z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall;

const UNITS: Readonly<Record<string, readonly [string, string]>> = {
  string: ['character', 'characters'],
  array: ['element', 'elements'],
  set: ['element', 'elements'],
  map: ['entry', 'entries'],
  record: ['entry', 'entries'],
  object: ['field', 'fields'],
  file: ['byte', 'bytes'],
};

function outOfRange(issue: RangeIssue, node: SchemaNode | undefined): Sentence {
  const isBig = issue.code === 'too_big';
  const limit = isBig ? issue.maximum : issue.minimum;
  const units = UNITS[issue.origin];
  if (units === undefined) {
    const range = numberRange(node?.schema);
    if (range !== undefined) return { text: `must be from ${range.least} to ${range.most}` };
    const shown = issue.origin === 'date' ? new Date(Number(limit)).toISOString() : limit;
    if (issue.inclusive === false) return { text: `must be ${isBig ? 'less' : 'greater'} than ${shown}` };
    return { text: `must be at ${isBig ? 'most' : 'least'} ${shown}` };
  }
  const bound = issue.exact ? 'exactly' : isBig ? 'at most' : 'at least';
  const size = sizeOf(issue.input);
  if (!isBig && Number(limit) === 1 && size === 0) return { text: 'must not be empty', tellsValue: true };
  const [one, many] = units;
  const rest = size === undefined ? '' : `, not ${size}`;
  return { text: `must have ${bound} ${limit} ${Number(limit) === 1 ? one : many}${rest}`, tellsValue: true };
}

function sizeOf(value: unknown): number | undefined {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (value instanceof Set || value instanceof Map) return value.size;
  return typeof value === 'object' && value !== null ? Object.keys(value).length : undefined;
}

const FORMATS: Readonly<Record<string, string>> = {
  email: 'an email address',
  url: 'a URL',
  uuid: 'a UUID',
  guid: 'a UUID',
  datetime: 'a time such as 2026-01-31T08:00:00Z',
  date: 'a date such as 2026-01-31',
  time: 'a time of day such as 08:00:00',
  duration: 'an ISO 8601 duration such as PT5M',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
  cidrv4: 'an IPv4 range such as 10.0.0.0/8',
  cidrv6: 'an IPv6 range such as fd00::/8',
  base64: 'base64',
  base64url: 'base64url',
  json_string: 'JSON',
  jwt: 'a JSON Web Token',
};

function format(issue: z.core.$ZodIssueInvalidStringFormat): string {
  if ('prefix' in issue) return `must start with ${JSON.stringify(issue.prefix)}`;
  if ('suffix' in issue) return `must end with ${JSON.stringify(issue.suffix)}`;
  if ('includes' in issue) return `must contain ${JSON.stringify(issue.includes)}`;
  if (issue.format === 'regex') return `must match the pattern ${issue.pattern}`;
  const name = FORMATS[issue.format] ?? `a valid ${issue.format.replaceAll('_', ' ')}`;
  if (issue.format === 'url' && issue.pattern !== undefined) return `must be ${name} that fits ${issue.pattern}`;
  return `must be ${name}`;
}

/** What the schema says about the field, for a rule that does not explain itself. */
function explanation(node: SchemaNode | undefined): string {
  const [first] = (node?.description ?? '').split(/(?<=\.)\s/);
  return first === undefined || first === '' ? '' : `; its description: ${first.replace(/\.$/, '')}`;
}

/** Says that a field does not exist, which one was probably meant, and which ones exist. */
export function unknownField(key: string, known: readonly string[]): string {
  const meant = nearestName(key, known);
  const guess = meant === undefined ? '' : `; did you mean "${meant}"?`;
  if (known.length === 0) return `unknown field${guess}${guess === '' ? '; remove it' : ''}`;
  return `unknown field${guess}${guess === '' ? ';' : ''} valid fields: ${known.join(', ')}`;
}

type UnionIssue = z.core.$ZodIssueInvalidUnion;

/**
 * The alternative of a union that the value comes closest to, so that only its problems are told;
 * undefined if none is closer than the others.
 */
function bestBranch({ errors }: UnionIssue): { index: number; issues: readonly Issue[] } | undefined {
  const ranked = errors
    .map((issues: readonly Issue[], index) => ({ index, issues, cost: branchCost(issues) }))
    .sort((a, b) => a.cost - b.cost);
  const [first, second] = ranked;
  if (first === undefined || first.cost === Number.POSITIVE_INFINITY) return undefined;
  return second === undefined || first.cost < second.cost ? first : undefined;
}

/** Infinite for another type. A wrong constant in a field says that another alternative is meant. */
function branchCost(issues: readonly Issue[]): number {
  let cost = 0;
  for (const { code, path } of issues) {
    if (path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')) return Number.POSITIVE_INFINITY;
    cost += code === 'invalid_value' && path.length === 1 ? 100 : 1;
  }
  return cost;
}

function unionSentence(issue: UnionIssue, node: SchemaNode | undefined, options: Description): Sentence {
  if (issue.inclusive === false) {
    return { text: 'fits more than one of the allowed forms; it must fit exactly one' };
  }
  if (issue.options !== undefined && issue.options.length > 0) {
    const input = discriminatorOf(issue);
    const { text, tellsValue } = allowedValues(issue.options, input, options);
    return { text: tellsValue ? text : `${text}${shownValue(input, options.values)}`, tellsValue: true };
  }
  const branches: string[] = [];
  const forms = unionOptions(node?.schema);
  for (const [index, issues] of issue.errors.entries()) {
    const schema = forms[index];
    const text = innerTexts(issues, { schema, values: 'hidden' }).replace(/^must be (.*), not .*$/, 'must be $1');
    if (!branches.includes(text)) branches.push(text);
  }
  if (branches.length === 0) return { text: `does not fit any of the allowed forms${explanation(node)}` };
  const isMissing = issue.input === undefined;
  const simple = branches.map((text) => /^(?:must be|is required; set it to) ([^;,]+)$/.exec(text)?.[1]);
  if (simple.every((text) => text !== undefined)) {
    const names = simple.length === 1 ? `${simple[0]}` : listed(simple);
    return { text: `${isMissing ? 'is required; set it to' : 'must be'} ${names}`, tellsValue: isMissing };
  }
  return { text: `must fit one of these forms: ${branches.slice(0, 5).join('; or: ')}` };
}

/** The value of the field that says which alternative is meant. */
function discriminatorOf({ discriminator, input }: UnionIssue): unknown {
  if (discriminator === undefined || typeof input !== 'object' || input === null) return input;
  return Reflect.get(input, discriminator);
}

/** Issues inside another, in one line. */
function innerTexts(issues: readonly Issue[], options: Description): string {
  return describeIssues(issues, [], options, MAX_INNER)
    .map(({ path, text }) => (path.length === 0 ? text : `${pathText(path)} ${text}`))
    .join(' and ');
}

/** How many problems of one value are told in its sentence. */
const MAX_INNER = 10;

/** A path as the API server writes it: spec.verify.checks[0].name, metadata.labels[app.kubernetes.io/name]. */
export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number' || !/^[\w-]+$/.test(String(step))) return `[${String(step)}]`;
      return index === 0 ? String(step) : `.${String(step)}`;
    })
    .join('');
}

/** Names of fields whose values are never repeated, even where other values are. */
const SECRET = /token|secret|passw|credential|authorization|cookie|header|api.?key|private.?key|^key$|^env$/i;

function isSecret(path: readonly PropertyKey[]): boolean {
  return path.some((key) => SECRET.test(String(key)));
}

/** The value in a message, if it is short and not an object. Else an empty text. */
function shownValue(value: unknown, values: Description['values']): string {
  if (values === 'hidden' || !['string', 'number', 'boolean', 'bigint'].includes(typeof value)) return '';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  // A URL with a user name has a password, too.
  if (/:\/\/[^/\s]*@/.test(text)) return '';
  return ` (got ${text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text})`;
}

const MAX_VALUE = 200;
