// Reads YAML as the API server does, so that the JSON forwarded is what it would have read itself.
//
// The API server reads YAML with sigs.k8s.io/yaml, which is go-yaml v2 and then JSON. That is
// neither YAML 1.1 nor 1.2: `yes` is true and `010` is 8, but `12:30:45` and `2001-01-01` are
// strings. Therefore the library only parses, and the rules for scalars, keys and merges here are
// go-yaml's (decode.go and resolve.go of go.yaml.in/yaml/v2). What they leave to chance is refused,
// and so are tags and keys that no object of the API needs.

import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { NotAllowed } from '../../../errors.ts';

/** A value of JSON. A bigint is an integer of 64 bits, signed or not. */
export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Bytes of text and nodes that aliases may make of a body. */
const MAX_EXPANDED = { characters: 1024 * 1024, nodes: 100_000 };

const TOO_DEEP = 'it is nested too deeply';

/** What go-yaml refuses, and line breaks that it knows and the library does not. */
const UNREADABLE = /[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]|\r(?!\n)/u;

/**
 * The value of the only document in `text`.
 * @throws NotAllowed for what is not YAML, or could be read otherwise by the API server
 */
export function readYaml(text: string): JsonValue {
  const unreadable = UNREADABLE.exec(text)?.[0];
  if (unreadable !== undefined) {
    throw refusal(`the character U+${unreadable.charCodeAt(0).toString(16).padStart(4, '0')} must be escaped`);
  }
  try {
    const document = parseDocument(text, {
      version: '1.1',
      schema: 'failsafe',
      resolveKnownTags: false,
      uniqueKeys: false,
      logLevel: 'error',
    });
    const [error] = document.errors;
    if (error?.code === 'MULTIPLE_DOCS') throw refusal('it has more than one document; send one request for each');
    if (error?.message.includes('call stack') === true) throw refusal(TOO_DEEP);
    if (error !== undefined) throw refusal(error.message.split('\n', 1)[0] ?? error.code);
    return new Reader(text, document.contents).read();
  } catch (error) {
    if (error instanceof NotAllowed) throw error;
    throw refusal(TOO_DEEP);
  }
}

function refusal(why: string): NotAllowed {
  return new NotAllowed(`the body is YAML that cannot be recorded as the API server reads it: ${why}`);
}

/** Turns the nodes of one document into values. */
class Reader {
  readonly #text: string;
  readonly #root: Node | null;
  readonly #targets = new Map<Alias, Node>();
  readonly #open = new Set<Alias>();
  #characters = 0;
  #nodes = 0;

  constructor(text: string, root: Node | null) {
    this.#text = text;
    this.#root = root;
    const anchors = new Map<string, Node>();
    // An alias means the last node of its name that begins before it.
    visit(root, {
      Alias: (_key, alias) => {
        const target = anchors.get(alias.source);
        if (target === undefined) throw refusal(`the alias *${alias.source} has no anchor`);
        this.#targets.set(alias, target);
      },
      Value: (_key, node) => {
        if (node.anchor !== undefined) anchors.set(node.anchor, node);
      },
    });
  }

  read(): JsonValue {
    return this.#value(this.#root);
  }

  #value(node: unknown): JsonValue {
    this.#nodes += 1;
    if (this.#nodes > MAX_EXPANDED.nodes) throw refusal('its aliases make it too large');
    if (node === null || node === undefined) return null;
    if (isAlias(node)) return this.#follow(node, (target) => this.#value(target));
    if (isScalar(node)) return this.#scalar(node);
    if (isSeq(node)) {
      requireTag(node.tag, 'seq');
      return node.items.map((item) => this.#value(item));
    }
    if (isMap(node)) {
      const mapping = new Mapping();
      this.#fill(mapping, node);
      return mapping.values;
    }
    throw refusal('it has a node that is not a scalar, a list or a map');
  }

  #follow<T>(alias: Alias, read: (target: Node) => T): T {
    const target = this.#targets.get(alias);
    if (target === undefined || this.#open.has(alias)) throw refusal(`the anchor ${alias.source} contains itself`);
    this.#open.add(alias);
    const value = read(target);
    this.#open.delete(alias);
    return value;
  }

  #scalar(node: Scalar): JsonValue {
    const text = String(node.value ?? '');
    this.#characters += text.length;
    if (this.#characters > MAX_EXPANDED.characters) throw refusal('its aliases make it too large');
    return scalarValue(text, node.tag, node.type === 'PLAIN');
  }

  /** Sets the pairs of a map in their order. A merge overwrites what stands before it. */
  #fill(mapping: Mapping, node: YAMLMap): void {
    requireTag(node.tag, 'map');
    for (const { key, value } of node.items) {
      this.#requireBlankAfterColon(key);
      if (isScalar(key) && key.value === '<<' && key.type === 'PLAIN' && key.tag === undefined) {
        this.#merge(mapping, value);
      } else {
        mapping.set(this.#value(key), this.#value(value));
      }
    }
  }

  /** In `[a:]`, go-yaml reads the string `a:`, and the library a map. */
  #requireBlankAfterColon(key: unknown): void {
    if (!isScalar(key) || key.type !== 'PLAIN' || !key.range) return;
    const [, end] = key.range;
    if (/^:[,[\]{}]/.test(this.#text.slice(end, end + 2))) throw refusal('a blank is missing after a colon');
  }

  /** Of several maps, the first has the last word. */
  #merge(mapping: Mapping, source: unknown): void {
    for (const node of isSeq(source) ? source.items.toReversed() : [source]) {
      const fill = (target: unknown): void => {
        this.#nodes += 1;
        if (!isMap(target)) throw refusal('<< needs a map or a list of maps; quote it if it is a key');
        this.#fill(mapping, target);
      };
      if (isAlias(node)) this.#follow(node, fill);
      else fill(node);
    }
  }
}

/** A map of JSON, made from keys that need not be strings. */
class Mapping {
  readonly values: Record<string, JsonValue> = Object.create(null);
  readonly #types = new Map<string, string>();

  set(key: JsonValue, value: JsonValue): void {
    const name = keyName(key);
    const type = this.#types.get(name);
    // For the API server `1` and `"1"` are two keys until they are JSON; chance picks one.
    if (type !== undefined && type !== typeof key) {
      throw refusal(`the key ${JSON.stringify(name)} is given as ${type} and as ${typeof key}`);
    }
    this.#types.set(name, typeof key);
    this.values[name] = value;
  }
}

function keyName(key: JsonValue): string {
  if (typeof key === 'string') return key;
  if (typeof key === 'boolean') return String(key);
  if (typeof key === 'bigint' && key <= MAX_INT64) return String(key);
  throw refusal('a key must be a string, an integer or a boolean; quote it');
}

function requireTag(tag: string | undefined, kind: 'map' | 'seq'): void {
  if (tag !== undefined && tag !== `${TAGS}${kind}`) throw refusal(`the tag ${tag} is not supported here`);
}

const TAGS = 'tag:yaml.org,2002:';
const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

function scalarValue(text: string, tag: string | undefined, plain: boolean): JsonValue {
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

type ScalarValue = null | boolean | number | bigint | string;

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
