// Removes from displayed text what a terminal would execute.

/** Escape sequences that a terminal would execute: colors, cursor moves, titles. */
const ESCAPES = new RegExp(`${String.fromCharCode(27)}(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\p{Cc}]*)?`, 'gu');
/** Control characters other than newline and tab, and marks that change the direction of text. */
const CONTROLS = /(?![\n\t])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Removes terminal escapes and control characters, except newline and tab, from text that is
 * displayed.
 */
export function withoutControls(text: string): string {
  return text.replace(ESCAPES, '').replace(CONTROLS, '');
}

/**
 * Escapes in JSON what JSON allows as it is but a terminal may execute or show in another
 * direction. The JSON means the same.
 */
export function escapeControls(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
