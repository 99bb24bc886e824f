// The status of a Monitor after a round: state, conditions and messages. Pure.

import { type Condition, setCondition } from '../../api/meta.ts';
import {
  MONITOR_CONDITIONS,
  type Monitor,
  type MonitorAlarm,
  type MonitorSpec,
  type MonitorStatus,
} from '../../api/monitor.ts';
import { truncate } from '../../api/truncate.ts';
import type { Refusal } from './acceptance.ts';
import { holdMs } from './alarms.ts';
import type { Probe } from './probe.ts';

/** The maximum length of a message in the schema, in characters. */
const MAX_MESSAGE = 4096;

type Change = Omit<Parameters<typeof setCondition>[1], 'type'> & { readonly type: keyof typeof MONITOR_CONDITIONS };

class StatusBuilder {
  #status: MonitorStatus;
  readonly #now: string;
  readonly #generation: number | undefined;

  constructor(before: MonitorStatus | undefined, monitor: Monitor, now: string) {
    this.#now = now;
    this.#generation = monitor.metadata.generation;
    const { observedGeneration: _, ...rest } = before ?? {};
    this.#status = this.#generation === undefined ? rest : { ...rest, observedGeneration: this.#generation };
  }

  set(change: Partial<MonitorStatus>): this {
    this.#status = { ...this.#status, ...change };
    return this;
  }

  setState(state: NonNullable<MonitorStatus['state']>, message: string): this {
    return this.set({ state, message: truncate(message, MAX_MESSAGE) });
  }

  setCondition(change: Change): this {
    const message = truncate(change.message ?? '', MAX_MESSAGE);
    const context = {
      now: this.#now,
      generation: this.#generation,
      order: Object.values<string>(MONITOR_CONDITIONS),
    };
    const conditions: Condition[] = setCondition(this.#status.conditions, { ...change, message }, context);
    return this.set({ conditions });
  }

  get done(): MonitorStatus {
    return this.#status;
  }
}

/** The status of a suspended Monitor. */
export function suspendedStatus(monitor: Monitor, before: MonitorStatus | undefined, now: string): MonitorStatus {
  const message = 'suspended: set spec.suspend to false to continue';
  return new StatusBuilder(before, monitor, now)
    .setState('Suspended', message)
    .setCondition({ type: 'Observed', status: 'Unknown', reason: 'Suspended', message })
    .setCondition({ type: 'Healthy', status: 'Unknown', reason: 'Suspended', message }).done;
}

/** The status of a Monitor that is not accepted. */
export function refusedStatus(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  { reason, message }: Refusal,
  now: string,
): MonitorStatus {
  return new StatusBuilder(before, monitor, now)
    .setState('Unknown', message)
    .setCondition({ type: 'Accepted', status: 'False', reason, message })
    .setCondition({ type: 'Observed', status: 'Unknown', reason: 'NotAccepted', message })
    .setCondition({ type: 'Healthy', status: 'Unknown', reason: 'NotAccepted', message }).done;
}

/** The status after a failed probe. The alarms do not change. */
export function failedStatus(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  probe: Extract<Probe, { type: 'failed' }>,
): MonitorStatus {
  const { reason, error: message, time } = probe;
  return acceptedStatus(monitor, before, time)
    .setState('Unknown', message)
    .setCondition({ type: 'Observed', status: 'False', reason, message })
    .setCondition({
      type: 'Healthy',
      status: 'Unknown',
      reason: 'Unobserved',
      message: 'the check cannot be observed',
    }).done;
}

export interface ObservedParts {
  readonly probe: Extract<Probe, { type: 'observed' }>;
  readonly alarms: readonly MonitorAlarm[];
  readonly omitted: number;
  /** When each alarm recently came back, by fingerprint. */
  readonly flaps: ReadonlyMap<string, readonly number[]>;
  /** Why an Incident cannot be written. */
  readonly problem: string | undefined;
}

/** The status after a successful probe. */
export function observedStatus(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  parts: ObservedParts,
): MonitorStatus {
  const { probe, alarms } = parts;
  const holds = probe.failing.length === 0;
  const message = describeAlarms(monitor.spec, parts);
  const state = alarms.some((alarm) => alarm.state !== 'Pending')
    ? 'Firing'
    : alarms.length > 0
      ? 'Pending'
      : 'Healthy';
  return acceptedStatus(monitor, before, probe.time)
    .set({ observed: probe.observed, lastObservedTime: probe.time, alarms: [...alarms] })
    .setState(state, message)
    .setCondition({ type: 'Observed', status: 'True', reason: 'Seen' })
    .setCondition({
      type: 'Healthy',
      status: holds ? 'True' : 'False',
      reason: holds ? 'CheckHolds' : 'CheckFails',
      message: holds ? '' : probe.observed,
    }).done;
}

function acceptedStatus(monitor: Monitor, before: MonitorStatus | undefined, now: string): StatusBuilder {
  const message = `the check runs with AgentClass ${monitor.spec.incident.agentClassName}`;
  return new StatusBuilder(before, monitor, now).setCondition({
    type: 'Accepted',
    status: 'True',
    reason: 'Accepted',
    message,
  });
}

function describeAlarms(spec: MonitorSpec, { alarms, omitted, flaps, problem }: ObservedParts): string {
  const lines = alarms.map((alarm) => {
    const labels = Object.entries(alarm.labels ?? {})
      .map(([label, value]) => `${label}=${value}`)
      .join(', ');
    const prefix = labels === '' ? '' : `${labels}: `;
    if (alarm.state === 'Pending') {
      const wait = holdMs(spec, flaps.get(alarm.fingerprint)?.length ?? 0);
      const due = new Date(Date.parse(alarm.since) + wait).toISOString();
      return `${prefix}failing since ${alarm.since}; if this continues, an Incident is opened at ${due}`;
    }
    const incident = alarm.incident === undefined ? 'no Incident yet' : `Incident ${alarm.incident}`;
    if (alarm.state === 'Firing') return `${prefix}failing since ${alarm.startTime}: ${incident}`;
    const due = new Date(Date.parse(alarm.since) + spec.clearSeconds * 1000).toISOString();
    return `${prefix}holding since ${alarm.since}: ${incident}; if this continues, the alarm is cleared at ${due}`;
  });
  if (lines.length === 0) lines.push('the check holds');
  if (omitted > 0) {
    lines.push(`${omitted} more alarms are left out: a Monitor holds at most ${alarms.length}; group by fewer labels`);
  }
  if (problem !== undefined) lines.push(problem);
  return lines.join('\n');
}

/** Whether a status is worth writing at once: anything changed except times and counts. */
export function hasMaterialChange(before: MonitorStatus | undefined, after: MonitorStatus): boolean {
  const essence = ({ state, message, conditions, alarms, observedGeneration }: MonitorStatus) =>
    JSON.stringify({
      state,
      // The same failure of a probe may have another message each time.
      message: state === 'Unknown' ? undefined : message,
      observedGeneration,
      conditions: conditions?.map(({ type, status, reason }) => [type, status, reason]),
      alarms: alarms?.map(({ fingerprint, state, since, incident, flaps }) => [
        fingerprint,
        state,
        since,
        incident,
        flaps,
      ]),
    });
  return before === undefined || essence(before) !== essence(after);
}
