// What a person would see of a stream: carriage returns, backspaces and escape sequences are obeyed
// as on a terminal, without its colors.
//
// Only the last line can still change. A terminal could also go back to earlier lines, or clear its
// screen; here that begins a new line, so that no output takes back the lines before it.

import { ROW_LENGTH, TerminalRow } from './terminal-row.ts';

/** The longest string of a sequence, such as a title or the address of a link. */
const MAX_STRING = 4096;
const MAX_PARAMETERS = 64;

const ESCAPE = '\u001b';
const SPECIAL_BYTES = Buffer.from(`\b\r${ESCAPE}`);
const SPECIAL = new RegExp(`[\\b\\r${ESCAPE}]`, 'g');

/** A sequence: CSI with its parameters and its end, a string (OSC, DCS, APC, PM, SOS), or a short one. */
const SEQUENCE = new RegExp(
  `\\u001b(?:\\[(?<parameters>[0-?]{0,${MAX_PARAMETERS}})[ -/]{0,4}(?<end>[@-~])` +
    `|[\\]PX^_](?<string>[^\\u0007\\u001b\\u009c\\n]{0,${MAX_STRING}})(?:\\u0007|\\u001b\\\\|\\u009c)` +
    '|[ #%()*+.-][0-~]|(?<command>[78=><cDEHMNOZ\\\\]))',
  'y',
);
/** What can still become one. */
const BEGUN = new RegExp(
  `\\u001b(?:\\[[0-?]{0,${MAX_PARAMETERS}}[ -/]{0,4}` +
    `|[\\]PX^_][^\\u0007\\u001b\\u009c\\n]{0,${MAX_STRING}}\\u001b?|[ #%()*+.-])?$`,
  'y',
);
/** Index, next line, reverse index, reset. */
const LEAVES_LINE = /[DEMc]/;
/** The parameters that switch to the other screen and back. */
const OTHER_SCREEN = /^\?(?:47|1047|1049)$/;
const ERASED = ['to-end', 'from-start', 'all'] as const;

/** Turns a stream into the text that a person would see, in bounded memory. */
export class TerminalText {
  readonly #emit: (text: string) => void;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a sequence. */
  #begun = '';
  /** The last line as long as nothing in it was changed. */
  #plain = '';
  /** Its cursor is at the beginning: of most such lines, the end comes next. */
  #returned = false;
  /** The last line otherwise. */
  #row: TerminalRow | undefined;
  #hidden = 0;

  /** @param emit receives the text that does not change any more, in which NUL still stands for itself */
  constructor(emit: (text: string) => void) {
    this.#emit = emit;
  }

  /** Characters that a person would not see at the end: overwritten, erased, or inside of a sequence. */
  get hidden(): number {
    return this.#hidden + (this.#row?.hidden ?? 0);
  }

  push(bytes: Uint8Array): void {
    const text = this.#decoder.decode(bytes, { stream: true });
    // Much faster, for what floods: lines without anything special.
    const isPlain = this.#begun === '' && !SPECIAL_BYTES.some((byte) => bytes.includes(byte));
    if (isPlain) this.#write(text);
    else this.#read(text);
  }

  /** The stream has ended. */
  end(): void {
    this.#read(this.#decoder.decode());
    while (this.#begun !== '') {
      const rest = this.#begun.slice(1);
      this.#begun = '';
      this.#write(ESCAPE);
      this.#read(rest);
    }
    this.#finishLine('');
  }

  #read(piece: string): void {
    const text = this.#begun + piece;
    this.#begun = '';
    for (let at = 0; at < text.length; ) {
      SPECIAL.lastIndex = at;
      const next = SPECIAL.exec(text)?.index ?? text.length;
      if (next > at) this.#write(text.slice(at, next));
      const length = next === text.length ? 0 : this.#obey(text, next);
      if (length === undefined) {
        this.#begun = text.slice(next);
        return;
      }
      at = next + length;
    }
  }

  /** Does what a special character says. @returns how long it is; undefined if its end is missing */
  #obey(text: string, at: number): number | undefined {
    if (text[at] === '\r') {
      if (this.#row === undefined) this.#returned = true;
      else this.#row.moveTo(0);
      return 1;
    }
    if (text[at] === '\b') {
      this.#changeable().moveBy(-1);
      return 1;
    }
    SEQUENCE.lastIndex = at;
    const found = SEQUENCE.exec(text);
    if (found === null) {
      BEGUN.lastIndex = at;
      if (BEGUN.test(text)) return undefined;
      // What no terminal knows stays, with what follows it.
      this.#write(ESCAPE);
      return 1;
    }
    const { end, parameters = '', string = '', command = '' } = found.groups ?? {};
    this.#hidden += string.length;
    if (end !== undefined) this.#control(end, parameters);
    else if (LEAVES_LINE.test(command)) this.#leaveLine();
    return found[0].length;
  }

  #control(end: string, parameters: string): void {
    if (/^[<=>?]/.test(parameters)) {
      if (/[hl]/.test(end) && OTHER_SCREEN.test(parameters)) this.#leaveLine();
      return;
    }
    const [first = 0, second = 0] = parameters.split(/[:;]/).map((text) => Number.parseInt(text, 10) || 0);
    const count = Math.max(1, first);
    switch (end) {
      case 'C':
      case 'a':
        this.#changeable().moveBy(count);
        return;
      case 'D':
        this.#changeable().moveBy(-count);
        return;
      case 'G':
      case '`':
        this.#changeable().moveTo(count - 1);
        return;
      case 'J':
        if (first > 1) this.#leaveLine();
        else this.#erase(first);
        return;
      case 'K':
        this.#erase(first);
        return;
      case 'X':
        this.#changeable().blank(count);
        return;
      case 'H':
      case 'f':
        this.#leaveLine();
        if (second > 1) this.#changeable().moveTo(second - 1);
        return;
      default:
        if (/[ABEFLMSTde]/.test(end)) this.#leaveLine();
    }
  }

  #erase(part: number): void {
    // Behind each match of grep, for example.
    const isAtEnd = this.#row === undefined && !this.#returned;
    const erased = ERASED[part];
    if (erased !== undefined && !(isAtEnd && part === 0)) this.#changeable().erase(erased);
  }

  #write(text: string): void {
    if (this.#returned && text.startsWith('\n')) this.#returned = false;
    const rest = this.#returned || this.#row !== undefined ? this.#overwrite(this.#changeable(), text) : text;
    const end = rest.lastIndexOf('\n') + 1;
    if (end > 0) this.#emit(this.#plain + rest.slice(0, end));
    this.#plain = end > 0 ? rest.slice(end) : this.#plain + rest;
    let from = 0;
    while (this.#plain.length - from > ROW_LENGTH) {
      const splitsPair = /[\uD800-\uDBFF]/.test(this.#plain.charAt(from + ROW_LENGTH - 1));
      from += splitsPair ? ROW_LENGTH - 1 : ROW_LENGTH;
    }
    if (from === 0) return;
    this.#emit(this.#plain.slice(0, from));
    this.#plain = this.#plain.slice(from);
  }

  /** Writes up to the end of the row. @returns what comes behind it */
  #overwrite(row: TerminalRow, text: string): string {
    const end = text.indexOf('\n');
    let at = 0;
    for (const character of end < 0 ? text : text.slice(0, end)) {
      if (!row.write(character)) {
        this.#finishRow(row, '');
        return text.slice(at);
      }
      at += character.length;
    }
    if (end < 0) return '';
    this.#finishLine('\n');
    return text.slice(end + 1);
  }

  /** The last line, from now on as a row of cells. */
  #changeable(): TerminalRow {
    if (this.#row !== undefined) return this.#row;
    const row = new TerminalRow();
    for (const character of this.#plain) row.write(character);
    if (this.#returned) row.moveTo(0);
    this.#plain = '';
    this.#returned = false;
    this.#row = row;
    return row;
  }

  /** Begins a new line, unless this one is empty. */
  #leaveLine(): void {
    const isEmpty = (this.#row?.text.trimEnd() ?? this.#plain) === '';
    this.#finishLine(isEmpty ? '' : '\n');
  }

  #finishLine(end: string): void {
    if (this.#row !== undefined) this.#finishRow(this.#row, end, true);
    else if (this.#plain + end !== '') this.#emit(this.#plain + end);
    this.#plain = '';
    this.#returned = false;
  }

  #finishRow(row: TerminalRow, end: string, isLast = false): void {
    // Nobody sees the blanks that something was overwritten with.
    const text = (isLast ? row.text.replace(/ +$/, '') : row.text) + end;
    if (text !== '') this.#emit(text);
    this.#hidden += row.hidden;
    this.#row = undefined;
  }
}
