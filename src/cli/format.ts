// Formats single values for people: ages, durations, costs, times.

/** An age in kubectl's format: 45s, 3m12s, 4h, 2d. */
export function age(from: string | undefined, now: Date): string {
  const then = Date.parse(from ?? '');
  if (Number.isNaN(then)) return '';
  const seconds = Math.max(0, Math.floor((now.getTime() - then) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

/** A duration given in milliseconds: 12 ms, 1.4 s, 3m12s. */
export function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
}

/** A cost given in thousandths of a US dollar: $0.012. */
export function cost(milliUSD: number | undefined): string {
  return milliUSD === undefined ? '' : `$${(milliUSD / 1000).toFixed(3)}`;
}

/** Of an RFC 3339 time: date, time of day, offset. A file can hold any text in its place. */
const TIME = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
const NO_TIME = '?';

/** The time of day of an RFC 3339 time, in UTC. */
export function clock(time: string): string {
  return time === '' ? '' : (TIME.exec(time)?.[2] ?? NO_TIME);
}

/** Date and time in UTC, to the second. */
export function dateTime(time: string | undefined): string {
  if (time === undefined || time === '') return '';
  const [, date, clockTime, offset] = TIME.exec(time) ?? [];
  if (date === undefined) return NO_TIME;
  return `${date} ${clockTime} ${offset === 'Z' ? 'UTC' : offset}`;
}

/** A number with thousands separators: 1,234,567. */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}
