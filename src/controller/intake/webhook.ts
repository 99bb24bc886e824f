// The generic webhook: one alert or a list of them, in as few fields as a script or another alarm system has at hand.

import { z } from 'zod';
import { severity } from '../../api/incident.ts';
import {
  type Alert,
  cutDescription,
  cutMap,
  cutSummary,
  fingerprintOf,
  instant,
  severityOf,
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

/** Always a list; a single alert counts as a list of one, so that errors name the field and not a choice of two forms. */
export const webhookPayload = z.preprocess(
  (content) => (Array.isArray(content) ? content : [content]),
  z.array(webhookAlert),
);

/**
 * The alerts of a delivery. Without a fingerprint the labels are it, or the summary where there are none; without
 * startsAt the episode begins now, which tells a delivery that is repeated after the end of its Incident from a new alarm
 * no more.
 */
export function alertsOfWebhook(payload: z.infer<typeof webhookPayload>, now: Date): Alert[] {
  return payload.map((alert): Alert => {
    const { labels, annotations, summary = '', description, startsAt, endsAt } = alert;
    const level = alert.severity ?? severityOf(labels.severity);
    const firing = alert.status === 'firing';
    return {
      kind: 'Webhook',
      firing,
      fingerprint: alert.fingerprint ?? fingerprintOf(Object.keys(labels).length === 0 ? { summary } : labels),
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
