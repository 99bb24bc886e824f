// Builds the alarm of an alert by its route: the Incident's namespace, text and checks. Pure.

import { type Check, NO_SAMPLES } from '../../api/check.ts';
import { dnsLabel } from '../../api/meta.ts';
import { AlertRefused } from '../../errors.ts';
import type { Alarm } from '../alarm/alarm.ts';
import { fillTemplate } from '../alarm/template.ts';
import type { Alert } from './alert.ts';
import { alertsQuery } from './alerts-query.ts';
import { ALERT_CHECK, type Route } from './route.ts';

/**
 * The namespace of the alert's Incident.
 * @throws AlertRefused when a label gives no valid name for it
 */
export function incidentNamespace(route: Route, alert: Alert): string {
  return fillNamespace(route, 'namespace', route.namespace, alert);
}

/** @throws AlertRefused when the route cannot make an Incident from this alert */
export function buildAlarm(route: Route, alert: Alert): Alarm {
  const { fingerprint, startTime, labels, annotations, summary, description, kind } = alert;
  const namespace = incidentNamespace(route, alert);
  const targetNamespaces = route.targetNamespaces?.map((template, index) =>
    fillNamespace(route, `targetNamespaces[${index}]`, template, alert),
  );
  const severity = route.severity ?? alert.severity ?? 'warning';
  return {
    source: { kind, name: sourceName(route, alert), fingerprint, startTime },
    namespace,
    severity,
    labels: { ...labels },
    annotations: { ...annotations },
    incident: {
      summary,
      ...(description === undefined ? {} : { description }),
      agentClassName: route.agentClassName,
      ...(targetNamespaces === undefined ? {} : { targetNamespaces: [...new Set(targetNamespaces)] }),
      verify: { soakSeconds: route.verify.soakSeconds, checks: buildChecks(route, alert) },
      ...(route.limits === undefined ? {} : { limits: route.limits }),
      suspend: route.suspend,
    },
  };
}

/** The route and the name of the alert: Incidents are named after it. */
function sourceName(route: Route, { labels }: Alert): string {
  return labels.alertname === undefined ? route.name : `${route.name}/${labels.alertname}`.slice(0, 253);
}

function buildChecks(route: Route, alert: Alert): Check[] {
  const { alertname, ...others } = alert.labels;
  if (route.prometheus !== undefined && alertname !== undefined) {
    const query = alertsQuery({ alertname, ...others });
    return [{ name: ALERT_CHECK, prometheus: { ...route.prometheus, query, cel: NO_SAMPLES } }, ...route.verify.checks];
  }
  if (route.verify.checks.length > 0) return route.verify.checks;
  throw new AlertRefused(
    `route ${route.name} has no verify.checks, and without the label alertname the alert cannot be found in Prometheus`,
  );
}

function fillNamespace(route: Route, field: string, template: string, alert: Alert): string {
  const text = fillTemplate(template, {
    labels: alert.labels,
    others: {},
    missingLabel: (name) => {
      throw new AlertRefused(`route ${route.name}, ${field}: the alert has no label ${name}`);
    },
  });
  if (dnsLabel.safeParse(text).success) return text;
  throw new AlertRefused(
    `route ${route.name}, ${field}: ${JSON.stringify(text.slice(0, 64))} is not a valid namespace name`,
  );
}
