// Renders the alarm behind an Incident and the notifications sent about it, for people.

import type { Incident } from '../../api/incident.ts';
import { withoutControls } from '../../audit/controls.ts';
import { age, dateTime } from '../format.ts';
import { wrap } from '../table.ts';

/** The source that opened the Incident, and the current state of its alarm. */
export function alarmLines({ spec, status }: Incident, now: Date, width: number): string[] {
  const { source } = spec;
  if (source === undefined) return [];
  const { alarm } = status ?? {};
  const flaps = alarm === undefined || alarm.flaps === 0 ? '' : `, came back ${alarm.flaps} times`;
  const state =
    alarm === undefined
      ? []
      : [
          `${alarm.state}, seen ${alarm.occurrences} times, last ${age(alarm.lastSeen, now)} ago${flaps}`,
          ...(alarm.clearedTime === undefined ? [] : [`cleared ${dateTime(alarm.clearedTime)}`]),
        ];
  return [`${source.kind} ${source.name}, since ${dateTime(source.startTime)}`, ...state].flatMap((line) =>
    wrap(withoutControls(line), width),
  );
}

/** The notifications and their delivery state, one per receiver and event. */
export function notificationLines({ status }: Incident, width: number): string[] {
  return (status?.notifications ?? []).flatMap(({ receiver, event, state, tries, time, message }) =>
    wrap(
      withoutControls(
        `${event} to ${receiver}: ${state}, ${dateTime(time)}${tries > 1 ? `, ${tries} tries` : ''}${message ? `: ${message}` : ''}`,
      ),
      width,
    ),
  );
}
