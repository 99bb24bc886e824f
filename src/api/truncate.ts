// Shortens a text to what a field may hold, at whole characters.

/**
 * At most `max` UTF-16 units of the text, the mark that says so included. A surrogate pair is never split: half of one is
 * not well formed, and the API server refuses it.
 */
export function truncate(text: string, max: number, mark = '…'): string {
  if (text.length <= max) return text;
  const end = Math.max(0, max - mark.length);
  const splitsPair = /[\uD800-\uDBFF]/.test(text.charAt(end - 1));
  return text.slice(0, splitsPair ? end - 1 : end) + mark;
}
