// Redaction: removes secrets before anything is hashed or stored.
//
// It removes secrets with a known value (the model key, service account tokens), text that matches
// a pattern of secrets, and the payload of Kubernetes Secrets. A secret without a telltale name or
// pattern is removed only if its value is known.

import { withoutInvisible } from './invisible.ts';
import { literalRule } from './redaction-literals.ts';
import { isSecretName, maskSecret, placeholder, RULES } from './redaction-rules.ts';
import { redactSecretObjects } from './secret-objects.ts';

/** A JSON value in an entry. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Redacting shorter literals would remove ordinary words from the log. */
export const MIN_LITERAL_LENGTH = 8;
/**
 * How many known values are kept, the newest: credentials that are renewed every hour would slow down
 * each entry more and more. By then, an older one has expired for days.
 */
export const MAX_LITERALS = 64;

/** Removes secrets from texts and values. Its only state is the list of known literals. */
export class Redactor {
  readonly #literals = new Set<string>();
  #replaceLiterals: ((text: string) => string) | undefined;

  constructor(literals: readonly string[] = []) {
    for (const literal of literals) this.add(literal);
  }

  /**
   * From now on, redacts this value wherever it appears: plain, URL-encoded, escaped in JSON, and
   * in base64 and hex, also beside other text and in lines. Returns false for a value that is known
   * already, or too short to be distinguished from ordinary text.
   */
  add(literal: string): boolean {
    const secret = literal.trim();
    if (secret.length < MIN_LITERAL_LENGTH || this.#literals.has(secret)) return false;
    this.#literals.add(secret);
    const [oldest = ''] = this.#literals;
    if (this.#literals.size > MAX_LITERALS) this.#literals.delete(oldest);
    this.#replaceLiterals = literalRule(this.#literals);
    return true;
  }

  /**
   * Removes secrets from a text, and what no reader sees from one in which that would put a secret
   * together. Idempotent.
   */
  text(input: string): string {
    const redacted = this.#redact(input.toWellFormed());
    const shown = withoutInvisible(redacted);
    if (shown === redacted) return redacted;
    const again = this.#redact(shown);
    return again === shown ? redacted : again;
  }

  #redact(input: string): string {
    let text = input;
    if (this.#replaceLiterals !== undefined) text = this.#replaceLiterals(text);
    text = redactSecretObjects(text);
    for (const rule of RULES) text = rule.redact(text);
    return text;
  }

  /**
   * Removes secrets from a JSON value: strings by text, members by name, Kubernetes Secrets by
   * kind.
   */
  value(input: Json): Json {
    if (typeof input === 'string') return this.text(input);
    if (Array.isArray(input)) return input.map((item) => this.value(item));
    if (input === null || typeof input !== 'object') return input;
    const kind = input.kind;
    const members = Object.entries(input).map(([key, member]): [string, Json] => {
      const name = this.text(key);
      if (kind === 'Secret' && (key === 'data' || key === 'stringData')) return [name, hidden(member)];
      if (kind === 'SecretList' && key === 'items' && Array.isArray(member)) {
        return [name, member.map((item) => this.value(asSecret(item)))];
      }
      if (typeof member === 'string' && member !== '' && isSecretName(key) && !member.startsWith('[redacted:')) {
        // A script can be kept under a name like a secret's, so what no secret can hold stays.
        return [name, this.text(maskSecret('value', member))];
      }
      return [name, this.value(member)];
    });
    // fromEntries defines members, so a key such as __proto__ stays a key.
    return Object.fromEntries(members);
  }
}

/** Replaces every nested value with the placeholder and keeps the keys. */
function hidden(value: Json): Json {
  if (value === null || typeof value !== 'object') return placeholder('secret', String(value ?? '').length);
  if (Array.isArray(value)) return value.map(hidden);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, hidden(member)]));
}

/** Redacts an item of a SecretList. The items have no kind. */
function asSecret(item: Json): Json {
  if (item === null || typeof item !== 'object' || Array.isArray(item)) return item;
  return Object.fromEntries(
    Object.entries(item).map(([key, member]) => [
      key,
      key === 'data' || key === 'stringData' ? hidden(member) : member,
    ]),
  );
}
