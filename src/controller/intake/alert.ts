// An alert in the form that is common to all senders, cut to the sizes that an Incident allows.

import { createHash } from 'node:crypto';
import * as z from 'zod';
import type { Severity } from '../../api/incident.ts';

/** An alert that fires or is resolved. Times are RFC 3339 in UTC. */
export interface Alert {
  readonly kind: 'Alertmanager' | 'Webhook';
  readonly firing: boolean;
  /** Identical for all occurrences of the alert. */
  readonly fingerprint: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly summary: string;
  readonly description?: string;
  /** As the sender gave it; undefined when it gave none that is known. */
  readonly severity?: Severity;
  /** When this episode began. */
  readonly startTime: string;
  /** When the alert was resolved; undefined while it fires. */
  readonly endTime?: string;
}

/** The limits in the schema of an Incident. */
const MAX_LABELS = 64;
const MAX_VALUE = 4096;
const MAX_SUMMARY = 512;
const MAX_DESCRIPTION = 16384;

/** RFC 3339 with any offset and precision, converted to UTC with milliseconds. */
export const instant = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());

/**
 * Names and values. Values have no limit here, because a long one is no reason to lose an alarm.
 */
export const stringMap = z.record(z.string().min(1).max(256), z.string());

/** Of a delivery. More could not be handled at once, and are not looked at one by one to say so. */
export const MAX_ALERTS = 5000;

/** A list of alerts, each as the schema says. */
export function alertList<T extends z.ZodType>(alert: T) {
  return z.preprocess((content, context) => {
    if (!Array.isArray(content) || content.length <= MAX_ALERTS) return content;
    context.addIssue({ code: 'custom', message: `has ${content.length} alerts; send at most ${MAX_ALERTS} at once` });
    return z.NEVER;
  }, z.array(alert));
}

/** A fingerprint that does not depend on the order of the labels, for senders that give none. */
export function hashLabels(parts: Readonly<Record<string, string>>): string {
  const canonical = JSON.stringify(Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(canonical).digest('hex').slice(0, 16);
}

/** Cuts the number and the length of values to what an Incident allows. */
export function cutMap(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(map)
      .slice(0, MAX_LABELS)
      .map(([name, value]) => [name, value.slice(0, MAX_VALUE)]),
  );
}

/** Makes one line, and cuts it to what an Incident allows. */
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

/** The severity that a common severity label means; undefined for an unknown one. */
export function parseSeverity(word: string | undefined): Severity | undefined {
  return word === undefined ? undefined : SEVERITIES[word.toLowerCase()];
}
