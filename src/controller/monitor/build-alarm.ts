// Builds the alarm for a failing check: text of the Incident, and checks of the repair. Pure.

import type { Check } from '../../api/check.ts';
import type { Monitor, MonitorAlarm } from '../../api/monitor.ts';
import { truncate } from '../../api/truncate.ts';
import type { Alarm } from '../alarm/alarm.ts';
import { fillTemplate } from '../alarm/template.ts';
import type { Failing } from './probe.ts';

/** The name of the Monitor's own check among the checks of its Incidents. */
export const MONITOR_CHECK = 'monitor';

/** Maximum lengths in the schema of an Incident, in characters. */
const MAX_SUMMARY = 512;
const MAX_DESCRIPTION = 16_384;
const MAX_LABEL = 4096;
const MAX_LABELS = 64;

/** Builds the alarm. The first failing sample fills in its texts. */
export function buildAlarm(
  monitor: Monitor,
  alarm: MonitorAlarm,
  found: { readonly failing: Failing | undefined; readonly observed: string },
  seen: NonNullable<Alarm['seen']>,
): Alarm {
  const { metadata, spec } = monitor;
  const { summary, description, agentClassName, targetNamespaces, verify, limits, suspend } = spec.incident;
  const labels = { ...(found.failing?.labels ?? alarm.labels ?? {}) };
  const fields = {
    labels,
    others: { value: alarm.value ?? '', monitor: metadata.name, observed: found.observed },
    missingLabel: () => '',
  };
  return {
    source: { kind: 'Monitor', name: metadata.name, fingerprint: alarm.fingerprint, startTime: alarm.startTime },
    namespace: metadata.namespace ?? 'default',
    severity: spec.severity,
    labels: limitLabels({ ...labels, ...spec.labels }),
    annotations: alarm.value === undefined ? {} : { value: alarm.value },
    incident: {
      summary: truncate(fillTemplate(summary, fields), MAX_SUMMARY),
      ...(description === undefined
        ? {}
        : { description: truncate(fillTemplate(description, fields), MAX_DESCRIPTION) }),
      agentClassName,
      ...(targetNamespaces === undefined ? {} : { targetNamespaces }),
      verify: { soakSeconds: verify.soakSeconds, checks: [ownCheck(monitor, alarm), ...verify.checks] },
      ...(limits === undefined ? {} : { limits }),
      suspend,
    },
    seen,
  };
}

/**
 * The Monitor's check as a check of the repair. With groupBy it covers only the labels of this
 * alarm.
 */
function ownCheck({ spec }: Monitor, alarm: MonitorAlarm): Check {
  const { check } = spec;
  if (spec.groupBy === undefined || check.prometheus === undefined) return { name: MONITOR_CHECK, ...check };
  const cel = `size(samples.filter(s, ${groupMatches(alarm.labels ?? {})})) == 0`;
  return { name: MONITOR_CHECK, prometheus: { ...check.prometheus, cel } };
}

/** A missing label counts as empty, as in PromQL. */
function groupMatches(labels: Readonly<Record<string, string>>): string {
  const conditions = Object.entries(labels).map(([name, value]) => {
    // CEL accepts the escape sequences of JSON.
    const [key, text] = [JSON.stringify(name), JSON.stringify(value)];
    return value === ''
      ? `(!(${key} in s.labels) || s.labels[${key}] == "")`
      : `(${key} in s.labels && s.labels[${key}] == ${text})`;
  });
  return conditions.length === 0 ? 'true' : conditions.join(' && ');
}

function limitLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels).slice(0, MAX_LABELS);
  return Object.fromEntries(entries.map(([name, value]) => [name, truncate(value, MAX_LABEL)]));
}
