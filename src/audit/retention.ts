// How long sealed sessions are kept: the notation, and what it means.

import { InvalidInput } from '../errors.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 36_500;

/**
 * Parses a number of days such as 90d.
 * @param name of the setting, for the message
 * @returns milliseconds
 * @throws InvalidInput
 */
export function parseDays(text: string, name: string): number {
  const days = Number(/^(\d{1,6})d$/.exec(text.trim())?.[1]);
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw new InvalidInput(`${name}: "${text}" is not a valid number of days; use 1d to ${MAX_DAYS}d, for example 90d`);
  }
  return days * DAY_MS;
}
