// Builds the alarm of an alert by its route: the Incident's namespace, text and checks. Pure.

import { allowsNamespace } from '../../api/agent-class.ts';
import { type Check, NO_SAMPLES } from '../../api/check.ts';
import type { IncidentSource } from '../../api/incident.ts';
import { dnsLabel } from '../../api/meta.ts';
import { AlertRefused } from '../../errors.ts';
import type { Alarm } from '../alarm/alarm.ts';
import { fillTemplate } from '../alarm/template.ts';
import type { Alert } from './alert.ts';
import { alertsQuery } from './alerts-query.ts';
import { ALERT_CHECK, type Route } from './route.ts';

/**
 * The namespace of the alert's Incident.
 * @throws AlertRefused when a label gives no valid name, or one that the route does not allow
 */
export function incidentNamespace(route: Route, alert: Alert): string {
  return fillNamespace(route, 'namespace', route.namespace, alert);
}

/** What raised the alarm: the route, and the name of the alert, after which Incidents are named. */
export function alertSource(route: Route, { kind, fingerprint, labels }: Alert): Omit<IncidentSource, 'startTime'> {
  const name = labels.alertname === undefined ? route.name : `${route.name}/${labels.alertname}`.slice(0, 253);
  return { kind, name, fingerprint };
}

/** @throws AlertRefused when the route cannot make an Incident from this alert */
export function buildAlarm(route: Route, alert: Alert): Alarm {
  const { startTime, labels, annotations, summary, description } = alert;
  const namespace = incidentNamespace(route, alert);
  const targetNamespaces = route.targetNamespaces?.map((template, index) =>
    fillNamespace(route, `targetNamespaces[${index}]`, template, alert),
  );
  const severity = route.severity ?? alert.severity ?? 'warning';
  return {
    source: { ...alertSource(route, alert), startTime },
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
  if (!dnsLabel.safeParse(text).success) {
    throw new AlertRefused(
      `route ${route.name}, ${field}: ${JSON.stringify(text.slice(0, 64))} is not a valid namespace name`,
    );
  }
  const { namespaces = ['*'] } = route;
  if (allowsNamespace(namespaces, text)) return text;
  throw new AlertRefused(
    `route ${route.name}, ${field}: the labels of the alert lead to ${text}, and the route's namespaces are ${namespaces.join(', ')}; add it there, or correct the labels`,
  );
}
