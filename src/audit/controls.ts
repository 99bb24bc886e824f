// Text without what a terminal would obey.

/** Colours, cursor moves, titles: what a terminal would obey. */
const ESCAPES = new RegExp(`${String.fromCharCode(27)}(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\p{Cc}]*)?`, 'gu');
/** Controls other than newline and tab, and the marks that turn the direction of text around. */
const CONTROLS = /(?![\n\t])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;

/** Text without control characters other than newline and tab, so that a terminal shows it and does not obey it. */
export function withoutControls(text: string): string {
  return text.replace(ESCAPES, '').replace(CONTROLS, '');
}
