// What of a change of a Monitor's status is worth an event. Pure, but for the telling.

import { findCondition } from '../../api/meta.ts';
import type { Monitor, MonitorStatus } from '../../api/monitor.ts';
import type { Note } from '../event.ts';

/** One event per change, not per look. */
export function noteChanges(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  after: MonitorStatus,
  record: (monitor: Monitor, note: Note) => void,
): void {
  for (const note of notesOf(before, after)) record(monitor, note);
}

export function notesOf(before: MonitorStatus | undefined, after: MonitorStatus): Note[] {
  const notes: Note[] = [];
  const changed = (type: string) => {
    const now = findCondition(after.conditions, type);
    const was = findCondition(before?.conditions, type);
    return now?.status !== was?.status || now?.reason !== was?.reason ? now : undefined;
  };
  const accepted = changed('Accepted');
  if (accepted?.status === 'False') notes.push({ type: 'Warning', reason: accepted.reason, note: accepted.message });
  const observed = changed('Observed');
  if (observed?.status === 'False') {
    const note = `nothing can be seen, so nothing is opened or closed: ${observed.message}`;
    notes.push({ type: 'Warning', reason: `Observation${observed.reason}`, note });
  }
  if (observed?.status === 'True' && findCondition(before?.conditions, 'Observed')?.status === 'False') {
    notes.push({ type: 'Normal', reason: 'Observed', note: 'it can see again' });
  }
  const known = new Map(before?.alarms?.map((alarm) => [alarm.fingerprint, alarm]));
  for (const alarm of after.alarms ?? []) {
    const was = known.get(alarm.fingerprint);
    known.delete(alarm.fingerprint);
    if (alarm.incident !== undefined && alarm.incident !== was?.incident) {
      notes.push({ type: 'Warning', reason: 'Firing', note: `Incident ${alarm.incident}: ${after.observed ?? ''}` });
    } else if (was !== undefined && alarm.flaps > was.flaps) {
      notes.push({
        type: 'Warning',
        reason: 'Flapping',
        note: `came back before it had cleared (${alarm.flaps} times)`,
      });
    }
  }
  for (const gone of known.values()) {
    if (gone.state === 'Pending') continue;
    notes.push({
      type: 'Normal',
      reason: 'Cleared',
      note: `the alarm of Incident ${gone.incident ?? '(none)'} is over`,
    });
  }
  return notes;
}
