// Redaction of Kubernetes Secrets in JSON or YAML text: removes the values under data and
// stringData and keeps the keys.

import { placeholder } from './redaction-rules.ts';

const SECRET = placeholder('secret');
const MENTIONS_JSON = /"kind\\{0,8}"\s{0,8}:\s{0,8}\\{0,8}"Secret(?:List)?\\{0,8}"/;
const MENTIONS_YAML = /^[ \t]*(?:- )?["']?kind["']?:[ \t]*["']?Secret(?:List)?["']?[ \t\r]*$/m;

/** Redacts the payload of every Secret in the text. Returns text without Secrets unchanged. */
export function redactSecretObjects(text: string): string {
  let result = text;
  if (MENTIONS_JSON.test(result)) result = redactJson(result);
  if (MENTIONS_YAML.test(result)) result = redactYaml(result);
  return result;
}

/** A range of the text to be replaced. */
interface Span {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** An object or array that the scanner is currently inside. */
interface Frame {
  readonly array: boolean;
  kind: string | undefined;
  key: string | undefined;
  expectsKey: boolean;
  /**
   * Payload values of this object and of descendants that have no kind, such as a SecretList's
   * items.
   */
  spans: Span[];
  /** Whether this frame is the data or stringData of its parent. */
  readonly payload: boolean;
}

/**
 * Scans text that is JSON or only contains some, complete or cut off. It enforces no grammar and
 * considers only strings and braces. A Secret may name its kind after its data, so spans are kept
 * until the object closes.
 */
function redactJson(text: string): string {
  const accepted: Span[] = [];
  const stack: Frame[] = [];
  const close = (frame: Frame) => {
    const parent = stack.at(-1);
    // A payload shares its spans with the object that it belongs to.
    if (frame.payload) return;
    if (frame.kind === 'Secret' || frame.kind === 'SecretList') for (const span of frame.spans) accepted.push(span);
    else if (frame.kind === undefined && parent !== undefined) parent.spans = joined(parent.spans, frame.spans);
  };
  let at = 0;
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
        if (top.payload) top.spans.push({ start: at, end, text: JSON.stringify(SECRET) });
        else if (MENTIONS_JSON.test(raw)) {
          const inner = unquote(raw);
          if (inner !== undefined) accepted.push({ start: at, end, text: JSON.stringify(redactJson(inner)) });
        }
      }
      at = end;
      continue;
    } else if (character === ',' && top !== undefined) {
      top.expectsKey = true;
    }
    at += 1;
  }
  // Text that was cut off leaves objects open. Redact those that are known to be Secrets, too.
  while (stack.length > 0) {
    const frame = stack.pop();
    if (frame !== undefined) close(frame);
  }
  return replaceSpans(text, accepted);
}

/** Joins two lists. Copies the shorter one, so that deep nesting stays cheap. */
function joined(a: Span[], b: Span[]): Span[] {
  const [longer, shorter] = a.length >= b.length ? [a, b] : [b, a];
  for (const span of shorter) longer.push(span);
  return longer;
}

/**
 * The index after the closing quote. A raw newline also ends a string, because JSON allows none in
 * it.
 */
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
  let result = '';
  let at = 0;
  for (const span of ordered) {
    if (span.start < at) continue;
    result += text.slice(at, span.start) + span.text;
    at = span.end;
  }
  return result + text.slice(at);
}

const YAML_KEY = /^(\s*)((?:- )*)(["']?)([\w./-]+)\3:(?:\s+(.*)|\s*)$/;

/** The column of a line's key, counting "- ". Undefined for a blank line. */
function keyColumn(line: string): number | undefined {
  if (line.trim() === '') return undefined;
  const match = /^(\s*(?:- )*)/.exec(line);
  return match?.[1]?.length ?? 0;
}

function redactYaml(text: string): string {
  const lines = text.split('\n');
  // An object names its kind once. A repetition in the same column belongs to the same object.
  let done = { until: 0, column: -1 };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    if (!MENTIONS_YAML.test(line)) continue;
    const column = keyColumn(line) ?? 0;
    if (at < done.until && column === done.column) continue;
    const list = /kind["']?:\s*["']?SecretList/.test(line);
    const [from, to] = findExtent(lines, at, column);
    redactYamlObject(lines, from, to, list ? undefined : column);
    done = { until: to, column };
  }
  return lines.join('\n');
}

/**
 * The lines of the object whose `kind` is at this line and column: first (inclusive), last
 * (exclusive).
 */
function findExtent(lines: readonly string[], at: number, column: number): [number, number] {
  const beginsItem = (line: string) => /^\s*- /.test(line) && keyColumn(line) === column;
  let from = at;
  while (from > 0 && !beginsItem(lines[from] ?? '')) {
    const line = lines[from - 1] ?? '';
    const indent = keyColumn(line);
    if (/^---/.test(line) || (indent !== undefined && indent < column)) break;
    from -= 1;
  }
  let to = at + 1;
  while (to < lines.length) {
    const line = lines[to] ?? '';
    const indent = keyColumn(line);
    if (/^---/.test(line) || beginsItem(line) || (indent !== undefined && indent < column)) break;
    to += 1;
  }
  return [from, to];
}

/** Replaces the values under data and stringData at this column, or at any column if undefined. */
function redactYamlObject(lines: string[], from: number, to: number, column: number | undefined): void {
  let payload: number | undefined;
  for (let at = from; at < to; at += 1) {
    const line = lines[at] ?? '';
    const indent = keyColumn(line);
    if (indent === undefined) continue;
    if (payload !== undefined && indent > payload) {
      const key = YAML_KEY.exec(line);
      lines[at] =
        key === null ? `${' '.repeat(indent)}${SECRET}` : `${key[1]}${key[2]}${key[3]}${key[4]}${key[3]}: '${SECRET}'`;
      continue;
    }
    payload = undefined;
    const key = YAML_KEY.exec(line);
    if (key === null || (column !== undefined && indent !== column)) continue;
    if (key[4] !== 'data' && key[4] !== 'stringData') continue;
    payload = indent;
    const inline = key[5]?.trim() ?? '';
    if (inline !== '' && inline !== '{}' && inline !== 'null' && !/^[|>]/.test(inline)) {
      lines[at] = `${key[1]}${key[2]}${key[4]}: '${SECRET}'`;
    }
  }
}
