// Alertmanager's webhook: the payload of version 4, into alerts.

import { z } from 'zod';
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

const alertmanagerAlert = z.looseObject({
  status: z.enum(['firing', 'resolved']),
  labels: stringMap,
  annotations: stringMap.default({}),
  startsAt: instant,
  endsAt: instant.optional(),
  generatorURL: z.string().optional(),
  /** Absent before Alertmanager 0.19. */
  fingerprint: z.string().min(1).max(128).optional(),
});

/** One delivery: a group of alerts, firing and resolved ones mixed. */
export const alertmanagerPayload = z.looseObject({
  version: z.literal('4'),
  alerts: z.array(alertmanagerAlert),
  /** How many of the group were left out because of `max_alerts`. */
  truncatedAlerts: z.number().int().default(0),
});

/** The alerts of a delivery, in its order. */
export function alertsOfAlertmanager(payload: z.infer<typeof alertmanagerPayload>): Alert[] {
  return payload.alerts.map((alert): Alert => {
    const { labels, annotations, startsAt, endsAt, status } = alert;
    const severity = severityOf(labels.severity);
    const description = descriptionOf(annotations, alert.generatorURL);
    return {
      kind: 'Alertmanager',
      firing: status === 'firing',
      fingerprint: alert.fingerprint ?? fingerprintOf(labels),
      labels: cutMap(labels),
      annotations: cutMap(annotations),
      summary: cutSummary(annotations.summary || annotations.message || titleOf(labels)),
      ...(description === '' ? {} : { description }),
      ...(severity === undefined ? {} : { severity }),
      startTime: startsAt,
      // A firing alert has the zero time here.
      ...(status === 'resolved' && endsAt !== undefined ? { endTime: endsAt } : {}),
    };
  });
}

/** In the notation of PromQL, for alerts without a sentence of their own. */
function titleOf(labels: Readonly<Record<string, string>>): string {
  const { alertname = 'alert', ...others } = labels;
  const list = Object.entries(others).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return list.length === 0 ? alertname : `${alertname}{${list.join(', ')}}`;
}

function descriptionOf(annotations: Readonly<Record<string, string>>, generatorURL: string | undefined): string {
  const parts = [
    annotations.description,
    annotations.runbook_url && `Runbook: ${annotations.runbook_url}`,
    generatorURL && `Raised by: ${generatorURL}`,
  ];
  return cutDescription(parts.filter(Boolean).join('\n'));
}
