// Redaction: what must never be on the record is taken out before anything is hashed or stored.
//
// Three nets: secrets known by value (the model key, service account tokens), shapes of secrets, and the payload of Kubernetes
// Secrets. A secret that is printed bare, without a telling name or shape, is only caught when its value is known.

import { isSecretName, maskSecret, placeholder, RULES } from './redaction-rules.ts';
import { redactSecretObjects } from './secret-objects.ts';

/** A JSON value, as entries carry it. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Shorter literals would take ordinary words out of the record. */
export const MIN_LITERAL_LENGTH = 8;

/** Takes secrets out of texts and values. Pure but for the literals that are registered as they become known. */
export class Redactor {
  readonly #literals = new Set<string>();
  #pattern: RegExp | undefined;

  constructor(literals: readonly string[] = []) {
    for (const literal of literals) this.add(literal);
  }

  /**
   * From now on this value is redacted wherever it appears: as it is, in base64, URL-encoded or escaped in JSON.
   * Returns false for a value that is too short to be told from ordinary text.
   */
  add(literal: string): boolean {
    const secret = literal.trim();
    if (secret.length < MIN_LITERAL_LENGTH) return false;
    const base64 = Buffer.from(secret).toString('base64');
    for (const form of [
      secret,
      base64.replace(/=+$/, ''),
      Buffer.from(secret).toString('base64url'),
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
    ]) {
      this.#literals.add(form);
    }
    const longestFirst = [...this.#literals].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(longestFirst.map(escaped).join('|'), 'g');
    return true;
  }

  /** The text without secrets. Idempotent. */
  text(input: string): string {
    let text = input.toWellFormed();
    if (this.#pattern !== undefined) {
      text = text.replace(this.#pattern, (found) => placeholder('literal', found.length));
    }
    text = redactSecretObjects(text);
    for (const rule of RULES) text = rule.redact(text);
    return text;
  }

  /** A JSON value without secrets: strings by their text, members by their names, Secrets by their kind. */
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
    // fromEntries defines members, so that a key such as __proto__ stays a key.
    return Object.fromEntries(members);
  }
}

/** The text as a pattern that matches just it. */
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

/** Every string below becomes the placeholder; keys stay. */
function hidden(value: Json): Json {
  if (value === null || typeof value !== 'object') return placeholder('secret', String(value ?? '').length);
  if (Array.isArray(value)) return value.map(hidden);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, hidden(member)]));
}

/** Items of a SecretList carry no kind of their own. */
function asSecret(item: Json): Json {
  if (item === null || typeof item !== 'object' || Array.isArray(item)) return item;
  return Object.fromEntries(
    Object.entries(item).map(([key, member]) => [
      key,
      key === 'data' || key === 'stringData' ? hidden(member) : member,
    ]),
  );
}
