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
import { MAX_INT64, readScalar, refusal, type ScalarValue, TAGS } from './yaml-scalar.ts';

/** A value of JSON. A bigint is an integer of 64 bits, signed or not. */
export type JsonValue = ScalarValue | readonly JsonValue[] | { readonly [key: string]: JsonValue };

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
    if (error instanceof RangeError) throw refusal(TOO_DEEP);
    throw error;
  }
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
    return readScalar(text, node.tag, node.type === 'PLAIN');
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
