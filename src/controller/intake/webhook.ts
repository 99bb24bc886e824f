// The generic webhook: one alert or a list, with few fields, for scripts and other systems.

import * as z from 'zod';
import { severity } from '../../api/incident.ts';
import {
  type Alert,
  alertList,
  cutDescription,
  cutMap,
  cutSummary,
  hashLabels,
  instant,
  parseSeverity,
  stringMap,
} from './alert.ts';

const webhookAlert = z
  .strictObject({
    fingerprint: z.string().min(1).max(128).optional(),
    status: z.enum(['firing', 'resolved']).default('firing'),
    severity: severity.optional(),
    summary: z.string().min(1).optional(),
    description: z.string().optional(),
    labels: stringMap.default({}),
    annotations: stringMap.default({}),
    startsAt: instant.optional(),
    endsAt: instant.optional(),
  })
  .refine(({ status, summary }) => status === 'resolved' || summary !== undefined, {
    path: ['summary'],
    error: 'an alert that fires needs a summary',
  });

/** A single alert becomes a list of one, so that errors name a field and not a union. */
export const webhookPayload = z.preprocess(
  (content) => (Array.isArray(content) ? content : [content]),
  alertList(webhookAlert),
);

/**
 * The alerts of a delivery. The fingerprint defaults to a hash of the labels, or of the summary if
 * there are no labels. Without startsAt the episode begins now, so a delivery that is repeated
 * after its Incident has finished counts as a new alarm.
 */
export function alertsFromWebhook(payload: z.infer<typeof webhookPayload>, now: Date): Alert[] {
  return payload.map((alert): Alert => {
    const { labels, annotations, summary = '', description, startsAt, endsAt } = alert;
    const level = alert.severity ?? parseSeverity(labels.severity);
    const firing = alert.status === 'firing';
    return {
      kind: 'Webhook',
      firing,
      fingerprint: alert.fingerprint ?? hashLabels(Object.keys(labels).length === 0 ? { summary } : labels),
      labels: cutMap(labels),
      annotations: cutMap(annotations),
      summary: cutSummary(summary),
      ...(description === undefined ? {} : { description: cutDescription(description) }),
      ...(level === undefined ? {} : { severity: level }),
      startTime: startsAt ?? now.toISOString(),
      ...(firing ? {} : { endTime: endsAt ?? now.toISOString() }),
    };
  });
}
