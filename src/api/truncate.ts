// Shortens a text to the length of a field without splitting a character.

/**
 * Returns at most `max` UTF-16 units of the text, including the mark that ends a shortened one. A
 * surrogate pair is never split: the API server rejects half of one, because it is not well formed.
 */
export function truncate(text: string, max: number, mark = '…'): string {
  if (text.length <= max) return text;
  const end = Math.max(0, max - mark.length);
  const splitsPair = /[\uD800-\uDBFF]/.test(text.charAt(end - 1));
  return text.slice(0, splitsPair ? end - 1 : end) + mark;
}
