// A pattern for secrets whose value is known: as they are, and as programs encode them.

import { LINE_END, placeholder } from './redaction-rules.ts';

/** Encoders break their output into lines, which a tool may have indented or escaped. */
const BREAK = `(?:${LINE_END}[ \\t]*)?`;
const BREAKS = new RegExp(`(${LINE_END}[ \\t]*)`);

/** Where a secret may begin within the three bytes that four characters of base64 stand for. */
const OFFSETS = [0, 1, 2];

/** Replaces the secrets in a text. */
export function literalRule(secrets: ReadonlySet<string>): (text: string) => string {
  const plain = new Set([...secrets].flatMap(plainForms));
  const encoded = new Set([...secrets].flatMap(encodedForms));
  const pattern = [...longestFirst(plain).map(escaped), ...longestFirst(encoded)].join('|');
  const all = new RegExp(pattern, 'g');
  return (text) => text.replace(all, (found) => mask(found, plain));
}

function mask(found: string, plain: ReadonlySet<string>): string {
  if (plain.has(found)) return placeholder('literal', found.length);
  const parts = found.split(BREAKS);
  return parts.map((part, at) => (at % 2 === 0 ? placeholder('literal', part.length) : part)).join('');
}

function plainForms(secret: string): string[] {
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];
}

/** Patterns. In base64, the first and last characters also depend on what stands beside it. */
function encodedForms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const base64 = OFFSETS.map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    const [start, end] = [(offset * 8) / 6, ((offset + bytes.length) * 8) / 6];
    // The characters at both ends may hold bits of the secret and of what stands beside it.
    const before = Number.isInteger(start) ? '' : `[A-Za-z0-9+/_-]${BREAK}`;
    const after = Number.isInteger(end) ? '' : `(?:${BREAK}[A-Za-z0-9+/_-])?`;
    return before + spelled(text.slice(Math.ceil(start), Math.floor(end))) + after;
  });
  return [...base64, spelled(bytes.toString('hex'))];
}

/** The characters with line ends between them; base64url has two others, and hex has two cases. */
function spelled(text: string): string {
  const isHex = /^[0-9a-f]+$/.test(text);
  return [...text]
    .map((character) => {
      if (character === '+') return '[+-]';
      if (character === '/') return '[/_]';
      return isHex && /[a-f]/.test(character) ? `[${character}${character.toUpperCase()}]` : character;
    })
    .join(BREAK);
}

const longestFirst = (forms: Iterable<string>): string[] => [...forms].sort((a, b) => b.length - a.length);

/** A pattern that matches exactly this text. */
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
