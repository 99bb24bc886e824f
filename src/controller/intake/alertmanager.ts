// Converts the webhook payload of Alertmanager (version 4) into alerts.

import * as z from 'zod';
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

/** One delivery: a group of alerts, both firing and resolved. */
export const alertmanagerPayload = z.looseObject({
  version: z.literal('4'),
  alerts: alertList(alertmanagerAlert),
  /** How many alerts of the group were left out because of `max_alerts`. */
  truncatedAlerts: z.number().int().default(0),
});

/** The alerts of a delivery, in its order. */
export function alertsFromAlertmanager(payload: z.infer<typeof alertmanagerPayload>): Alert[] {
  return payload.alerts.map((alert): Alert => {
    const { labels, annotations, startsAt, endsAt, status } = alert;
    const severity = parseSeverity(labels.severity);
    const description = buildDescription(annotations, alert.generatorURL);
    return {
      kind: 'Alertmanager',
      firing: status === 'firing',
      fingerprint: alert.fingerprint ?? hashLabels(labels),
      labels: cutMap(labels),
      annotations: cutMap(annotations),
      summary: cutSummary(annotations.summary || annotations.message || formatLabels(labels)),
      ...(description === '' ? {} : { description }),
      ...(severity === undefined ? {} : { severity }),
      startTime: startsAt,
      // A firing alert has the zero time here.
      ...(status === 'resolved' && endsAt !== undefined ? { endTime: endsAt } : {}),
    };
  });
}

/** The labels in PromQL notation, as the summary of alerts without one. */
function formatLabels(labels: Readonly<Record<string, string>>): string {
  const { alertname = 'alert', ...others } = labels;
  const list = Object.entries(others).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return list.length === 0 ? alertname : `${alertname}{${list.join(', ')}}`;
}

function buildDescription(annotations: Readonly<Record<string, string>>, generatorURL: string | undefined): string {
  const parts = [
    annotations.description,
    annotations.runbook_url && `Runbook: ${annotations.runbook_url}`,
    generatorURL && `Raised by: ${generatorURL}`,
  ];
  return cutDescription(parts.filter(Boolean).join('\n'));
}
