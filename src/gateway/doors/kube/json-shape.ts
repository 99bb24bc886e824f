// Looks over the text of a JSON body before anything is made of it: how many values it has, how deep
// they are nested, and whether JavaScript's numbers can hold its numbers. Pure.
//
// What a value costs to parse and to record does not depend on its length, so a body of a few MiB can
// have values enough to stop the gateway's main thread for many seconds.

import { NotAllowed, TooLarge } from '../../../errors.ts';
import { MAX_LEVELS } from '../../../input/depth.ts';

/** A whole object of the API has a few thousand; a MiB of one has more than ten bytes for each. */
const MAX_VALUES = 100_000;
/** Integers of so many digits are exact in JavaScript. */
const EXACT_DIGITS = 15;

const [QUOTE, BACKSLASH, COMMA, MINUS, DOT, ZERO, NINE] = [34, 92, 44, 45, 46, 48, 57];
const OPENING: ReadonlySet<number> = new Set([91, 123]);
const CLOSING: ReadonlySet<number> = new Set([93, 125]);
const EXPONENT: ReadonlySet<number> = new Set([69, 101]);

export interface JsonShape {
  /** Lists and objects count as well. */
  readonly values: number;
  /** Some number would change: a long one, a fraction, an exponent or a negative zero. */
  readonly hasUnsafeNumbers: boolean;
}

/**
 * The shape of a text that may be JSON. What it says of other text does not matter: that is refused
 * later. @throws TooLarge, NotAllowed
 */
export function readShape(text: string): JsonShape {
  let [values, depth, hasUnsafeNumbers] = [1, 0, false];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (code === COMMA || OPENING.has(code)) {
      values += 1;
      if (values > MAX_VALUES) {
        throw new TooLarge(`the body has more than ${MAX_VALUES} values, too many to be recorded; send fewer at once`);
      }
      if (code !== COMMA) depth += 1;
      if (depth > MAX_LEVELS) {
        throw new NotAllowed(`the body is nested too deeply to be recorded: more than ${MAX_LEVELS} levels`);
      }
    } else if (CLOSING.has(code)) {
      depth -= 1;
    } else if (isDigit(code)) {
      const end = endOfDigits(text, at);
      const next = text.charCodeAt(end);
      hasUnsafeNumbers ||=
        end - at > EXACT_DIGITS ||
        next === DOT ||
        EXPONENT.has(next) ||
        (code === ZERO && text.charCodeAt(at - 1) === MINUS);
      at = end - 1;
    }
  }
  return { values, hasUnsafeNumbers };
}

/** The position of the quote that ends a string. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at += 1;
    else if (code === QUOTE) return at;
  }
  return text.length;
}

function endOfDigits(text: string, start: number): number {
  let at = start;
  while (isDigit(text.charCodeAt(at))) at += 1;
  return at;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}
