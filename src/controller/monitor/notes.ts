// The events that a change of a Monitor's status causes. Pure, except for the recording.

import { findCondition } from '../../api/meta.ts';
import type { Monitor, MonitorStatus } from '../../api/monitor.ts';
import type { Note } from '../event.ts';

/** Records one event for each change, not for each probe. */
export function recordChanges(
  monitor: Monitor,
  before: MonitorStatus | undefined,
  after: MonitorStatus,
  record: (monitor: Monitor, note: Note) => void,
): void {
  for (const note of listNotes(before, after)) record(monitor, note);
}

function listNotes(before: MonitorStatus | undefined, after: MonitorStatus): Note[] {
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
    const note = `the check cannot be observed, so nothing is opened or cleared: ${observed.message}`;
    notes.push({ type: 'Warning', reason: `Observation${observed.reason}`, note });
  }
  if (observed?.status === 'True' && findCondition(before?.conditions, 'Observed')?.status === 'False') {
    notes.push({ type: 'Normal', reason: 'Observed', note: 'the check can be observed again' });
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
        note: `the alarm came back before it was cleared (${alarm.flaps} times)`,
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
