// Reads the query of a request where the API server reads the same. Pure.
//
// Go drops a parameter that it cannot read, and the whole query if it has too many parameters. Both
// happen in silence: a dry run that the record shows would be none. So such queries are refused.

import { InvalidInput } from '../../../errors.ts';

/** Go reads 10,000 at most. An exec has one for each word of its command. */
const MAX_PARAMETERS = 1000;

/**
 * @param text what follows the question mark
 * @throws InvalidInput for a query that the API server could read otherwise
 */
export function readQuery(text: string): URLSearchParams {
  const parameters = text.split('&').length;
  if (parameters > MAX_PARAMETERS) {
    throw new InvalidInput(`the query has ${parameters} parameters; send at most ${MAX_PARAMETERS}`);
  }
  if (text.includes(';')) throw new InvalidInput('the query must not contain ";"; write %3B');
  try {
    decodeURIComponent(text);
  } catch (error) {
    throw new InvalidInput('the query is not correctly percent-encoded UTF-8', error);
  }
  // The ampersand preserves a second question mark, which the API server reads as part of the first
  // name.
  return new URLSearchParams(`&${text}`);
}
