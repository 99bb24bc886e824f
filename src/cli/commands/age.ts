// Parses ages in flags, such as `--since 24h`.

import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** @returns milliseconds @throws InvalidArgumentError */
export function parseAge(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const factor = UNITS[unit];
  if (digits === undefined || factor === undefined) {
    throw new InvalidArgumentError('use a number with s, m, h or d, for example 24h');
  }
  return Number(digits) * factor;
}
