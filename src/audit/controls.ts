// Removes from displayed text what a terminal would execute.

const ESCAPE = '\u001b';
/**
 * Colors and moves of the cursor. Only numbers and one letter, so that what a sequence stands in
 * front of, or pretends to contain, stays: no command is hidden from the reader of the record.
 */
export const SEQUENCES = new RegExp(`${ESCAPE}\\[(?:(?:\\d{1,4}(?:;\\d{1,4}){0,8})?[A-HJKSTm]|\\?\\d{1,4}[hl])`, 'g');
const VISIBLE_ESCAPE = '␛';
/** Control characters other than newline and tab, and marks that change the direction of text. */
const CONTROL = '(?![\\n\\t])\\p{Cc}|[\\u202a-\\u202e\\u2066-\\u2069]';
const CONTROLS = new RegExp(CONTROL, 'gu');

/**
 * Removes colors, moves of the cursor and control characters, except newline and tab, from text
 * that is displayed; controls that move on, such as a carriage return, become a blank. Any other
 * escape is shown: a terminal would hide what follows it, up to an end that may never come.
 */
export function withoutControls(text: string): string {
  return withVisibleEscapes(text.replace(SEQUENCES, ''))
    .replace(/\r+(?=\n|$)/g, '')
    .replace(/[\r\v\f]/g, ' ')
    .replace(CONTROLS, '');
}

/** For commands: a shell can act on what a terminal takes for a color. */
export function withVisibleEscapes(text: string): string {
  return text.replaceAll(ESCAPE, VISIBLE_ESCAPE);
}

/** The colors of this program, and what no text may do to a terminal. */
const PAINT = new RegExp(`(${ESCAPE}\\[(?:0|1|2|22|3[0-79])m)|${CONTROL}`, 'gu');

/**
 * The last check before a terminal: the colors of this program stay, other controls are shown as
 * escapes, whoever forgot to remove them. JSON means the same afterwards.
 */
export function forTerminal(text: string): string {
  return text.replace(PAINT, (found, paint?: string) => paint ?? escaped(found));
}

function escaped(control: string): string {
  return `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Escapes in JSON what JSON allows as it is but a terminal may execute or show in another
 * direction. The JSON means the same.
 */
export function escapeControls(json: string): string {
  return json.replace(/[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, escaped);
}
