// Kubernetes Secrets in text: the values under `data` and `stringData`, in JSON or YAML, are masked.
//
// The text may be a command or its output, whole or cut off, so nothing here is a parser: a Secret can
// be imitated. Values are masked as far as a secret can reach (redaction-rules.ts), and what else
// an imitation holds stays on the record. Both walks are linear in the length of the text.

import { maskBase64Line, maskSecret } from './redaction-rules.ts';

const MENTIONS_YAML = /^[ \t]*(?:- )*["']?kind["']?:[ \t]*(?:!!str[ \t]+)?["']?Secret/m;

/** Masks the payload of every Secret that the text shows. Text without one comes back as it is. */
export function redactSecretObjects(text: string): string {
  let result = text;
  // In JSON, or in a string of JSON that quotes YAML.
  if (result.includes('Secret') && result.includes('kind')) result = redactJson(result);
  if (MENTIONS_YAML.test(result)) result = redactYaml(result);
  return result;
}

const KIND = 'secret';

/** A string of the text, quotes included, that is to be replaced. */
interface Span {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** An object or array that the scanner is inside of. */
interface Frame {
  readonly array: boolean;
  kind: string | undefined;
  key: string | undefined;
  expectsKey: boolean;
  /** Payload of this object, and of descendants without a kind of their own (items of a SecretList). */
  spans: Span[];
  /** This frame is the `data` or `stringData` of its parent. */
  readonly payload: boolean;
}

/**
 * Walks the objects in a text that may be JSON, or may only contain some: no grammar is enforced,
 * only strings and braces count. A Secret may name its kind after its data, so spans are kept
 * until the object closes.
 */
function redactJson(text: string): string {
  const accepted: Span[] = [];
  const stack: Frame[] = [];
  const close = (frame: Frame) => {
    const parent = stack.at(-1);
    // The spans of a payload are already those of the object that it belongs to.
    if (frame.payload) return;
    if (frame.kind === 'Secret' || frame.kind === 'SecretList') for (const span of frame.spans) accepted.push(span);
    else if (frame.kind === undefined && parent !== undefined) parent.spans = joined(parent.spans, frame.spans);
  };
  let at = 0;
  /** Up to here, quotes outside of all objects were tried. */
  let read = 0;
  while (at < text.length) {
    const character = text[at];
    const top = stack.at(-1);
    if (character === '{' || character === '[') {
      const payload =
        top !== undefined && ((!top.array && (top.key === 'data' || top.key === 'stringData')) || top.payload);
      if (character === '{' || top !== undefined) {
        stack.push({
          array: character === '[',
          kind: undefined,
          key: undefined,
          expectsKey: true,
          spans: payload ? top.spans : [],
          payload,
        });
      }
    } else if (character === '}' || character === ']') {
      const frame = stack.pop();
      if (frame !== undefined) close(frame);
    } else if (top !== undefined && character === '"') {
      const end = endOfString(text, at);
      const raw = text.slice(at, end);
      if (!top.array && top.expectsKey) {
        top.key = unquote(raw);
        top.expectsKey = false;
      } else {
        if (top.key === 'kind' && !top.payload) top.kind = unquote(raw);
        if (top.payload) top.spans.push({ start: at, end, text: `"${maskSecret(KIND, raw.slice(1))}` });
        else accepted.push(...redactQuoted(raw, at));
      }
      at = end;
      continue;
    } else if (top === undefined && character === '"' && at >= read) {
      // A log line, or what jq prints. A lone quote means nothing, so what follows is read again.
      read = endOfString(text, at);
      const [span] = redactQuoted(text.slice(at, read), at);
      if (span !== undefined) {
        accepted.push(span);
        at = read;
        continue;
      }
    } else if (character === ',' && top !== undefined) {
      top.expectsKey = true;
    }
    at += 1;
  }
  // A text that was cut off leaves objects open; those that are known to be Secrets count.
  while (stack.length > 0) {
    const frame = stack.pop();
    if (frame !== undefined) close(frame);
  }
  return replaceSpans(text, accepted);
}

/** The string with what it quotes redacted, if that is a Secret. */
function redactQuoted(raw: string, start: number): Span[] {
  if (!raw.includes('Secret')) return [];
  const inner = unquote(raw);
  if (inner === undefined) return [];
  const redacted = redactSecretObjects(inner);
  return redacted === inner ? [] : [{ start, end: start + raw.length, text: JSON.stringify(redacted) }];
}

/** Both lists in one; the shorter is copied, so that deep nesting stays cheap. */
function joined(a: Span[], b: Span[]): Span[] {
  const [longer, shorter] = a.length >= b.length ? [a, b] : [b, a];
  for (const span of shorter) longer.push(span);
  return longer;
}

/** The index after the closing quote; a raw newline ends a string too, because JSON allows none. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at];
    if (character === '\\') at += 1;
    else if (character === '"') return at + 1;
    else if (character === '\n') return at;
  }
  return text.length;
}

function unquote(raw: string): string | undefined {
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function replaceSpans(text: string, spans: readonly Span[]): string {
  const ordered = [...spans].sort((a, b) => a.start - b.start);
  const parts: string[] = [];
  let at = 0;
  for (const span of ordered) {
    if (span.start < at) continue;
    parts.push(text.slice(at, span.start), span.text);
    at = span.end;
  }
  parts.push(text.slice(at));
  return parts.join('');
}

/** Indent, list markers, quote, key, value. */
const YAML_KEY = /^([ \t]*)((?:- +)*)(["']?)([\w./-]+)\3:(?:[ \t]+(.*)|[ \t]*)$/;
const SECRET_KIND = /^(?:!!str[ \t]+)?(["']?)(Secret|SecretList)\1[ \t\r]*(?:#.*)?$/;

/** A mapping of the document: the lines whose keys stand in one column. */
interface Block {
  readonly column: number;
  kind: 'secret' | 'other' | undefined;
  /** Lines of payload, each range first (inclusive) to last (exclusive). */
  ranges: [from: number, to: number][];
  /** The first line below an open `data:` or `stringData:`. */
  openSince: number | undefined;
}

/** One pass over the lines with a stack of open mappings, so that no line is visited twice. */
function redactYaml(text: string): string {
  const lines = text.split('\n');
  const stack: Block[] = [];
  /** +1 where a payload begins, -1 where it ends: overlapping ranges cost nothing. */
  const depth = new Int32Array(lines.length + 1);

  const endPayload = (block: Block, at: number) => {
    if (block.openSince !== undefined) block.ranges.push([block.openSince, at]);
    block.openSince = undefined;
  };
  const close = (at: number) => {
    const block = stack.pop();
    if (block === undefined) return;
    endPayload(block, at);
    const parent = stack.at(-1);
    if (block.kind === 'secret') {
      for (const [from, to] of block.ranges) {
        depth[from] = (depth[from] ?? 0) + 1;
        depth[to] = (depth[to] ?? 0) - 1;
      }
    } else if (block.kind === undefined && parent !== undefined) {
      // The items of a SecretList have no kind: theirs is the list's.
      const [longer, shorter] =
        parent.ranges.length >= block.ranges.length ? [parent.ranges, block.ranges] : [block.ranges, parent.ranges];
      for (const range of shorter) longer.push(range);
      parent.ranges = longer;
    }
  };

  for (const [at, line] of lines.entries()) {
    const text = line.slice(0, endOfText(line));
    if (text.trim() === '') continue;
    if (text.startsWith('---')) {
      while (stack.length > 0) close(at);
      continue;
    }
    const [, indent = '', markers = ''] = /^([ \t]*)((?:- +)*)/.exec(line) ?? [];
    const column = indent.length + markers.length;
    while ((stack.at(-1)?.column ?? -1) > column) close(at);
    if (markers !== '' && stack.at(-1)?.column === column) close(at);
    let block = stack.at(-1);
    if (block === undefined || block.column < column) {
      block = { column, kind: undefined, ranges: [], openSince: undefined };
      stack.push(block);
    }
    endPayload(block, at);
    const [, , , , key = '', value = ''] = YAML_KEY.exec(text) ?? [];
    if (key === 'kind') block.kind = SECRET_KIND.test(value) ? 'secret' : 'other';
    if (key === 'data' || key === 'stringData') {
      // A value on the same line is a mapping in braces.
      if (/^\{/.test(value)) block.ranges.push([at, at + 1]);
      else block.openSince = at + 1;
    }
  }
  while (stack.length > 0) close(lines.length);

  let open = 0;
  return lines
    .map((line, at) => {
      open += depth[at] ?? 0;
      return open > 0 ? maskLine(line) : line;
    })
    .join('\n');
}

const FLOW_VALUE = /([{,][ \t]*["']?[\w./-]+["']?:[ \t]*["']?)([^\s{},"'][^{},"']*)/g;

/** Where a line ends without the carriage returns that a terminal adds. */
function endOfText(line: string): number {
  let end = line.length;
  while (end > 0 && line[end - 1] === '\r') end -= 1;
  return end;
}

/** Masks the value of a line of payload. */
function maskLine(whole: string): string {
  const end = endOfText(whole);
  return maskText(whole.slice(0, end)) + whole.slice(end);
}

function maskText(line: string): string {
  const [, indent = '', markers = '', quote = '', key, value = ''] = YAML_KEY.exec(line) ?? [];
  if (key === undefined) return maskBase64Line(KIND, line);
  const before = `${indent}${markers}${quote}${key}${quote}:`;
  if (value.startsWith('{')) {
    return line.replace(FLOW_VALUE, (_match, kept: string, found: string) => `${kept}${maskSecret(KIND, found)}`);
  }
  if (value === '' || /^[|>]/.test(value) || value === 'null') return line;
  const opening = /^["']/.exec(value)?.[0] ?? '';
  return `${before} ${opening}${maskSecret(KIND, value.slice(opening.length))}`;
}
