// Scalars of YAML as go-yaml v2 reads them into values without a type (resolve.go).

import { NotAllowed } from '../../../errors.ts';

/** A bigint is an integer of 64 bits, signed or not. */
export type ScalarValue = null | boolean | number | bigint | string;

/** The error for a body of YAML that is refused. */
export function refusal(why: string): NotAllowed {
  return new NotAllowed(`the body is YAML that cannot be recorded as the API server reads it: ${why}`);
}

/** What the tags `!!int`, `!!str` and so on begin with in full. */
export const TAGS = 'tag:yaml.org,2002:';
/** The largest integer that Go takes for an int; larger ones are an uint64. */
export const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

/**
 * The value of a scalar.
 * @param plain whether it has no quotes and is not a block
 * @throws NotAllowed for a tag that is unknown or does not fit, and for what JSON cannot say
 */
export function readScalar(text: string, tag: string | undefined, plain: boolean): ScalarValue {
  if (tag === undefined) return plain ? checked(resolve(text)) : text;
  const refuse = () => refusal(`${JSON.stringify(text.slice(0, 40))} is not a valid ${tag}`);
  switch (tag) {
    case `${TAGS}str`:
      return text;
    case `${TAGS}binary`:
      return decodeBinary(text) ?? raise(refuse());
    case `${TAGS}null`:
      return resolve(text) === null ? null : raise(refuse());
  }
  const value = checked(resolve(text));
  if (tag === `${TAGS}bool` && typeof value === 'boolean') return value;
  if (tag === `${TAGS}int` && typeof value === 'bigint') return value;
  if (tag === `${TAGS}float` && typeof value === 'number') return value;
  if (tag === `${TAGS}float` && typeof value === 'bigint' && value <= MAX_INT64) return Number(value);
  throw refuse();
}

function raise(error: Error): never {
  throw error;
}

function checked(value: ScalarValue): ScalarValue {
  if (typeof value === 'number' && !Number.isFinite(value)) throw refusal(`JSON has no number ${value}`);
  return value;
}

const WORDS: ReadonlyMap<string, ScalarValue> = new Map<string, ScalarValue>([
  ...eachCase(['y', 'yes', 'true', 'on'], true),
  ...eachCase(['n', 'no', 'false', 'off'], false),
  ...eachCase(['null'], null),
  ['', null],
  ['~', null],
  ['.nan', Number.NaN],
  ['.NaN', Number.NaN],
  ['.NAN', Number.NaN],
  ...['', '+', '-'].flatMap((sign) =>
    ['.inf', '.Inf', '.INF'].map((word): [string, number] => [`${sign}${word}`, Number(`${sign}Infinity`)]),
  ),
]);

function eachCase(words: readonly string[], value: ScalarValue): [string, ScalarValue][] {
  return words.flatMap((word) =>
    [word, word.toUpperCase(), `${word.charAt(0).toUpperCase()}${word.slice(1)}`].map((form): [string, ScalarValue] => [
      form,
      value,
    ]),
  );
}

/** `resolve` of go-yaml v2 for a scalar without quotes and tag. */
function resolve(text: string): ScalarValue {
  const word = WORDS.get(text);
  if (word !== undefined) return word;
  if (text.startsWith('.')) {
    return /^\.\d(_?\d)*([eE][-+]?\d(_?\d)*)?$/.test(text) ? (finite(text.replaceAll('_', '')) ?? text) : text;
  }
  if (!/^[-+\d]/.test(text)) return text;
  const digits = text.replaceAll('_', '');
  const integer = readInteger(digits);
  if (integer !== undefined) return integer;
  // Octal digits that do not fit into 64 bits end up here as well, and so does 08.
  const float = /^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$/.test(digits) ? finite(digits) : undefined;
  if (float !== undefined) return float;
  const [, sign = '', bits] = /^0b([-+])([01]+)$/.exec(digits) ?? [];
  return (bits === undefined ? undefined : withinRange(sign, BigInt(`0b${bits}`))) ?? text;
}

/** strconv.ParseInt and ParseUint with base 0. */
function readInteger(digits: string): bigint | undefined {
  const [, sign = '', magnitude] = /^([-+]?)(0[xX][\da-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9]\d*)$/.exec(digits) ?? [];
  if (magnitude === undefined) return undefined;
  return withinRange(sign, BigInt(/^0[0-7]/.test(magnitude) ? `0o${magnitude.slice(1)}` : magnitude));
}

function withinRange(sign: string, magnitude: bigint): bigint | undefined {
  if (sign === '') return magnitude <= MAX_UINT64 ? magnitude : undefined;
  const value = sign === '-' ? -magnitude : magnitude;
  return value >= MIN_INT64 && value <= MAX_INT64 ? value : undefined;
}

/** Go calls a number that is too large an error, and go-yaml then takes the text. */
function finite(text: string): number | undefined {
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function decodeBinary(text: string): string | undefined {
  const base64 = text.replaceAll(/[\r\n]/g, '');
  if (!/^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/.test(base64)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}
