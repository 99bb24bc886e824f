// One alert as the intake sees it, whoever sent it, cut to what an Incident takes.

import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Severity } from '../../api/incident.ts';

/** An alert that began, goes on, or is over. Times are RFC 3339 in UTC. */
export interface Alert {
  readonly kind: 'Alertmanager' | 'Webhook';
  readonly firing: boolean;
  /** The same for all occurrences of the alert. */
  readonly fingerprint: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly summary: string;
  readonly description?: string;
  /** What the sender says of it; undefined when it says nothing that we know. */
  readonly severity?: Severity;
  /** When this episode began. */
  readonly startTime: string;
  /** When it was over; only of an alert that is. */
  readonly endTime?: string;
}

/** What the schema of an Incident takes. */
const MAX_LABELS = 64;
const MAX_VALUE = 4096;
const MAX_SUMMARY = 512;
const MAX_DESCRIPTION = 16384;

/** RFC 3339 with any offset and any precision, as UTC in milliseconds. */
export const instant = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());

/** Names and values; not bounded here, because a long one is no reason to lose an alarm. */
export const stringMap = z.record(z.string().min(1).max(256), z.string());

/** The labels, the same in every order; for senders that give no fingerprint. */
export function fingerprintOf(parts: Readonly<Record<string, string>>): string {
  const canonical = JSON.stringify(Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(canonical).digest('hex').slice(0, 16);
}

/** At most as many and as long as an Incident takes. */
export function cutMap(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map)
      .slice(0, MAX_LABELS)
      .map(([name, value]) => [name, value.slice(0, MAX_VALUE)]),
  );
}

/** One line. */
export function cutSummary(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > MAX_SUMMARY ? `${line.slice(0, MAX_SUMMARY - 1)}…` : line;
}

export function cutDescription(text: string): string {
  return text.length > MAX_DESCRIPTION ? `${text.slice(0, MAX_DESCRIPTION - 1)}…` : text;
}

const SEVERITIES: Readonly<Record<string, Severity>> = {
  critical: 'critical',
  emergency: 'critical',
  page: 'critical',
  error: 'warning',
  warning: 'warning',
  info: 'info',
  none: 'info',
};

/** The words of the field for how bad it is; undefined for any other word. */
export function severityOf(word: string | undefined): Severity | undefined {
  return word === undefined ? undefined : SEVERITIES[word.toLowerCase()];
}
