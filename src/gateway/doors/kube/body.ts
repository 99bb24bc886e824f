// The body of a write: read once, and from then on only what was read is recorded and forwarded.
//
// A body can be written so that a reader and the API server see different things: blanks before it,
// keys twice, a content type that is dropped on the way. Therefore JSON and YAML go on as compact
// JSON made from the parsed value, and protobuf only in its plainest form.

import { NotAllowed, TooLarge } from '../../../errors.ts';
import { isTooDeep, MAX_LEVELS } from '../../../input/depth.ts';
import { escapeYamlBreaks, hasHalfCharacter } from '../../../net/json.ts';
import { readShape } from './json-shape.ts';
import { protobufText } from './protobuf-text.ts';
import { secretBody } from './secret-body.ts';
import { readYaml } from './yaml-body.ts';

/** Bytes of a body that are recorded whole; larger ones are refused, since a part would hide the rest. */
const MAX_RECORDED = 1024 * 1024;
/** YAML is slow to read, and what kubectl and Helm send is JSON. */
const MAX_YAML = 64 * 1024;

declare global {
  // TypeScript does not know it yet; Node does.
  interface JSON {
    rawJSON(text: string): object;
  }
}

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const APPLY_YAML = 'application/apply-patch+yaml';
/** Content types of the API, each with the one under which the canonical body goes on. */
const TYPES: Readonly<Record<string, string>> = {
  'application/json': 'application/json',
  'application/yaml': 'application/json',
  'application/json-patch+json': 'application/json-patch+json',
  'application/merge-patch+json': 'application/merge-patch+json',
  'application/strategic-merge-patch+json': 'application/strategic-merge-patch+json',
  // JSON is YAML.
  [APPLY_YAML]: APPLY_YAML,
  [PROTOBUF]: PROTOBUF,
};
const YAML: ReadonlySet<string> = new Set(['application/yaml', APPLY_YAML]);

/** A body as it is forwarded and recorded. */
export type CanonicalBody =
  | { readonly type: 'none' }
  /** `bytes` is `value` as compact JSON. */
  | {
      readonly type: 'json';
      readonly bytes: Buffer;
      readonly contentType: string;
      readonly value: unknown;
      /** How many values it has, which says better than its length what work it makes. */
      readonly values: number;
    }
  | { readonly type: 'protobuf'; readonly bytes: Buffer; readonly contentType: string; readonly text: string };

/** The body as the record shows it. */
export function recordedBody(body: CanonicalBody, secret: boolean): string | undefined {
  if (body.type === 'none') return undefined;
  if (body.type === 'protobuf') return body.text;
  return secret ? secretBody(body.value) : body.bytes.toString('utf8');
}

/**
 * Reads a body.
 * @param secret whether it is a Secret's, whose protobuf values must not be shown
 * @throws NotAllowed for a form that cannot be recorded as it would be read, TooLarge
 */
export function canonicalBody(
  bytes: Buffer,
  header: string | undefined,
  contentEncoding: string | undefined,
  secret: boolean,
): CanonicalBody {
  if (bytes.length === 0) return { type: 'none' };
  if (contentEncoding !== undefined && contentEncoding !== 'identity') {
    throw new NotAllowed(`bodies with content-encoding ${contentEncoding} cannot be recorded; send it plain`);
  }
  const given = (header ?? 'application/json').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const contentType = TYPES[given];
  if (contentType === undefined) {
    throw new NotAllowed(`bodies of type ${header} cannot be recorded; send JSON, YAML or protobuf`);
  }
  if (contentType === PROTOBUF) {
    const text = protobufText(bytes, secret);
    if (text.length > MAX_RECORDED) throw tooLarge(text.length);
    return { type: 'protobuf', bytes, contentType, text };
  }
  const json = compactJson(bytes, YAML.has(given));
  const canonical = Buffer.from(json);
  if (canonical.length > MAX_RECORDED) throw tooLarge(canonical.length);
  const { values } = readShape(json);
  return { type: 'json', bytes: canonical, contentType, value: JSON.parse(json), values };
}

function tooLarge(bytes: number): TooLarge {
  return new TooLarge(`the body is ${bytes} bytes; at most ${MAX_RECORDED} can be recorded whole`);
}

function compactJson(bytes: Buffer, mayBeYaml: boolean): string {
  const text = new TextDecoder('utf-8', { fatal: true });
  let decoded: string;
  try {
    decoded = text.decode(bytes);
  } catch {
    throw new NotAllowed('the body is not UTF-8, so it cannot be recorded');
  }
  // What is short takes no time, and what is YAML has no such shape.
  const isShortYaml = mayBeYaml && bytes.length <= MAX_YAML;
  const isPlain = !isShortYaml && !readShape(decoded).hasUnsafeNumbers;
  const parsed = parseJson(decoded, isPlain);
  if (parsed !== undefined) return isPlain ? escapeBreaks(JSON.stringify(parsed.value)) : stringify(parsed.value);
  if (!mayBeYaml) throw new NotAllowed('the body is not JSON, as its content type says');
  if (bytes.length > MAX_YAML) {
    throw new TooLarge(`a body of YAML may have ${MAX_YAML} bytes, this one has ${bytes.length}; send it as JSON`);
  }
  return stringify(readYaml(decoded));
}

function stringify(value: unknown): string {
  if (isTooDeep(value)) throw new NotAllowed(`the body is nested in more than ${MAX_LEVELS} levels; flatten it`);
  const json = JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'bigint') return JSON.rawJSON(String(part));
    return Object.is(part, -0) ? JSON.rawJSON('-0') : part;
  });
  return escapeBreaks(json);
}

/** @throws NotAllowed for half of a surrogate pair */
function escapeBreaks(json: string): string {
  if (hasHalfCharacter(json)) {
    throw new NotAllowed(
      'the body has half of a surrogate pair, which the API server replaces; send a whole character',
    );
  }
  return escapeYamlBreaks(json);
}

/**
 * Undefined if the text is not JSON.
 * @param isPlain JavaScript can hold all of its numbers, which spares a look at each
 */
function parseJson(text: string, isPlain: boolean): { readonly value: unknown } | undefined {
  try {
    return { value: isPlain ? JSON.parse(text) : JSON.parse(text, keepNumbers) };
  } catch {
    return undefined;
  }
}

/** Numbers stay as they were written: 64-bit integers do not fit into JavaScript's. */
function keepNumbers(_key: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' && context?.source !== undefined ? JSON.rawJSON(context.source) : value;
}
