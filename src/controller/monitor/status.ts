// What a Monitor's status says after a look: state and conditions, in words for people. Pure.

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

/** What the schema lets a message be, in characters. */
const MAX_MESSAGE = 4096;

type Change = Omit<Parameters<typeof setCondition>[1], 'type'> & { readonly type: keyof typeof MONITOR_CONDITIONS };

/** A status in the making. */
class StatusDraft {
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

  say(state: NonNullable<MonitorStatus['state']>, message: string): this {
    return this.set({ state, message: truncate(message, MAX_MESSAGE) });
  }

  condition(change: Change): this {
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

/** Of a Monitor that is not to look. */
export function suspendedStatus(monitor: Monitor, before: MonitorStatus | undefined, now: string): MonitorStatus {
  const message = 'suspended: set spec.suspend to false to go on';
  return new StatusDraft(before, monitor, now)
    .say('Suspended', message)
    .condition({ type: 'Observed', status: 'Unknown', reason: 'Suspended', message })
    .condition({ type: 'Healthy', status: 'Unknown', reason: 'Suspended', message }).done;
}

/** Of a Monitor that cannot be worked with. */
export function refusedStatus(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  { reason, message }: Refusal,
  now: string,
): MonitorStatus {
  return new StatusDraft(before, monitor, now)
    .say('Unknown', message)
    .condition({ type: 'Accepted', status: 'False', reason, message })
    .condition({ type: 'Observed', status: 'Unknown', reason: 'NotAccepted', message })
    .condition({ type: 'Healthy', status: 'Unknown', reason: 'NotAccepted', message }).done;
}

/** After a look that saw nothing: the alarms stay as they are. */
export function unseenStatus(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  sight: Extract<Probe, { type: 'unseen' }>,
): MonitorStatus {
  const { reason, error: message, time } = sight;
  return accepted(monitor, before, time)
    .say('Unknown', message)
    .condition({ type: 'Observed', status: 'False', reason, message })
    .condition({ type: 'Healthy', status: 'Unknown', reason: 'Unobserved', message: 'nothing could be seen' }).done;
}

export interface SeenParts {
  readonly sight: Extract<Probe, { type: 'seen' }>;
  readonly alarms: readonly MonitorAlarm[];
  readonly omitted: number;
  /** How often the alarms came back lately, by fingerprint. */
  readonly flaps: ReadonlyMap<string, readonly number[]>;
  /** Why no Incident could be opened. */
  readonly problem: string | undefined;
}

/** After a look that saw something. */
export function seenStatus(monitor: Monitor, before: MonitorStatus | undefined, parts: SeenParts): MonitorStatus {
  const { sight, alarms } = parts;
  const holds = sight.failing.length === 0;
  const message = messageFor(monitor.spec, parts);
  const state = alarms.some((alarm) => alarm.state !== 'Pending')
    ? 'Firing'
    : alarms.length > 0
      ? 'Pending'
      : 'Healthy';
  return accepted(monitor, before, sight.time)
    .set({ observed: sight.observed, lastObservedTime: sight.time, alarms: [...alarms] })
    .say(state, message)
    .condition({ type: 'Observed', status: 'True', reason: 'Seen' })
    .condition({
      type: 'Healthy',
      status: holds ? 'True' : 'False',
      reason: holds ? 'CheckHolds' : 'CheckFails',
      message: holds ? '' : sight.observed,
    }).done;
}

function accepted(monitor: Monitor, before: MonitorStatus | undefined, now: string): StatusDraft {
  const message = `looks with AgentClass ${monitor.spec.incident.agentClassName}`;
  return new StatusDraft(before, monitor, now).condition({
    type: 'Accepted',
    status: 'True',
    reason: 'Accepted',
    message,
  });
}

function messageFor(spec: MonitorSpec, { alarms, omitted, flaps, problem }: SeenParts): string {
  const lines = alarms.map((alarm) => {
    const who = Object.entries(alarm.labels ?? {})
      .map(([label, value]) => `${label}=${value}`)
      .join(', ');
    const about = who === '' ? '' : `${who}: `;
    if (alarm.state === 'Pending') {
      const wait = holdMs(spec, flaps.get(alarm.fingerprint)?.length ?? 0);
      const due = new Date(Date.parse(alarm.since) + wait).toISOString();
      return `${about}fails since ${alarm.since}; an Incident is opened at ${due} if it goes on`;
    }
    const incident = alarm.incident === undefined ? 'no Incident yet' : `Incident ${alarm.incident}`;
    if (alarm.state === 'Firing') return `${about}fails since ${alarm.startTime}: ${incident}`;
    const due = new Date(Date.parse(alarm.since) + spec.clearSeconds * 1000).toISOString();
    return `${about}holds since ${alarm.since}: ${incident}; cleared at ${due} if it goes on to`;
  });
  if (lines.length === 0) lines.push('the check holds');
  if (omitted > 0) lines.push(`${omitted} more fail; a Monitor keeps ${alarms.length} apart: group by fewer labels`);
  if (problem !== undefined) lines.push(problem);
  return lines.join('\n');
}

/** Whether somebody would miss it if the new status were not written now: anything but times and counts. */
export function hasMaterialChange(before: MonitorStatus | undefined, after: MonitorStatus): boolean {
  const essence = ({ state, message, conditions, alarms, observedGeneration }: MonitorStatus) =>
    JSON.stringify({
      state,
      // What hinders a look may be told in other words each time.
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
