// One row of a terminal: text that can be overwritten from any column on.

import { eastAsianWidth } from 'get-east-asian-width';

/** The most UTF-16 units of a row. What follows stands on a row of its own, which is no new line. */
export const ROW_LENGTH = 1024;
const TAB_COLUMNS = 8;
/** Marks on the character before them, and what a terminal does not show at all. */
const ZERO_WIDTH = /^[\p{M}\p{Cf}\p{Cc}]$/u;
const LAST_PRINTABLE_ASCII = 0x7e;
const REPLACEMENT = 0xfffd;

/** The columns of a character other than a tab. */
function widthOf(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  // Most of all text, and of what is no text.
  if ((code >= 0x20 && code <= LAST_PRINTABLE_ASCII) || code === REPLACEMENT) return 1;
  return ZERO_WIDTH.test(character) ? 0 : eastAsianWidth(code);
}

/** A row and its cursor. */
export class TerminalRow {
  /** What has no width before the first character. */
  #lead = '';
  /** The character that begins in each column; '' where a wide one or a tab continues. */
  readonly #cells: string[] = [];
  /** Of the whole text, in UTF-16 units. */
  #length = 0;
  #column = 0;
  /** Characters that were overwritten or erased by now, without blanks. */
  hidden = 0;

  get text(): string {
    return this.#lead + this.#cells.join('');
  }

  /** Writes one character. False, and nothing is written, if the row is full. */
  write(given: string): boolean {
    // A terminal ignores NUL; the replacement says that something was there.
    const character = given === '\0' ? '\uFFFD' : given;
    const width = character === '\t' ? TAB_COLUMNS - (this.#column % TAB_COLUMNS) : widthOf(character);
    const added = width === 0 ? 0 : this.#column - this.#cells.length;
    // A wide character that begins inside of the row may also make it longer.
    const grows = added >= 0 || this.#column + width > this.#cells.length;
    if (grows && this.#length + Math.max(0, added) + character.length > ROW_LENGTH) return false;
    if (width === 0) this.#mark(character);
    else this.#put(character, width);
    return true;
  }

  moveTo(column: number): void {
    this.#column = Math.max(0, Math.min(column, Math.max(this.#cells.length, ROW_LENGTH - 1)));
  }

  moveBy(columns: number): void {
    this.moveTo(this.#column + columns);
  }

  /** Erases from the cursor to the end, from the start to the cursor, or all. The cursor stays. */
  erase(part: 'to-end' | 'from-start' | 'all'): void {
    const end = part === 'from-start' ? Math.min(this.#column + 1, this.#cells.length) : this.#cells.length;
    const from = Math.min(part === 'to-end' ? this.#column : 0, end);
    this.#clear(from, end);
    if (end < this.#cells.length) return;
    this.#length -= end - from;
    this.#cells.length = from;
  }

  /** Blanks as many columns from the cursor on. */
  blank(columns: number): void {
    this.#clear(this.#column, Math.min(this.#column + columns, this.#cells.length));
  }

  #mark(character: string): void {
    if (this.#column === 0 || this.#cells.length === 0) {
      this.#lead += character;
      this.#length += character.length;
      return;
    }
    const before = this.#beginOf(Math.min(this.#column, this.#cells.length) - 1);
    this.#set(before, (this.#cells[before] ?? '') + character);
  }

  #put(character: string, width: number): void {
    while (this.#cells.length < this.#column) this.#set(this.#cells.length, ' ');
    const from = this.#column;
    const end = from + width;
    this.#clear(from, Math.min(end, this.#cells.length), character);
    this.#set(from, character);
    for (let at = from + 1; at < end; at++) this.#set(at, '');
    this.#column = end;
  }

  #set(column: number, text: string): void {
    this.#length += text.length - (this.#cells[column]?.length ?? 0);
    this.#cells[column] = text;
  }

  /** Where the character that covers this column begins. */
  #beginOf(column: number): number {
    let at = column;
    while (at > 0 && this.#cells[at] === '') at--;
    return at;
  }

  /** Blanks these columns, and all of a character that lies in one of them. */
  #clear(from: number, end: number, by = ' '): void {
    for (let at = from; at < end; at++) {
      const begin = this.#beginOf(at);
      const was = this.#cells[begin] ?? '';
      if (was.trim() !== '' && was !== by) this.hidden++;
      this.#set(begin, ' ');
      for (let next = begin + 1; this.#cells[next] === ''; next++) this.#set(next, ' ');
    }
  }
}
