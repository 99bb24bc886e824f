// Matches the value of a label: as a whole text, or with a regular expression of RE2.
//
// An expression is the platform owner's, but the values are the sender's, and JavaScript's own engine
// may take years for a value of 40 characters. RE2 takes time in proportion to the length of a value.
// It is also what Prometheus and Alertmanager use for the same purpose.

import { RE2JS } from 're2js';
import { errorMessage, InvalidInput } from '../../errors.ts';

/** Steps that an expression may take for each character; each `{100}` takes a hundred. */
const MAX_PROGRAM = 1000;

/**
 * The matcher for a text of the configuration; one between slashes is a regular expression, which
 * must match the whole value. @throws InvalidInput that says what is wrong with it
 */
export function labelMatcher(text: string): (value: string) => boolean {
  const expression = /^\/(.*)\/$/s.exec(text)?.[1];
  if (expression === undefined) return (value) => value === text;
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(expression);
  } catch (error) {
    throw new InvalidInput(`not a regular expression of RE2: ${errorMessage(error)}`, error);
  }
  if (compiled.programSize() > MAX_PROGRAM) {
    throw new InvalidInput('the regular expression repeats too much; use * or + instead of large numbers in braces');
  }
  return (value) => compiled.matches(value);
}
