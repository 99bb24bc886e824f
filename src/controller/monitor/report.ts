// Reports alarms to the Incident opener, and adds the opened Incidents to the Monitor's alarms.

import type { Monitor, MonitorAlarm } from '../../api/monitor.ts';
import { errorMessage } from '../../errors.ts';
import type { AlarmStep } from './alarms.ts';
import { buildAlarm } from './build-alarm.ts';
import type { MonitorMemory } from './monitor-memory.ts';
import type { Probe } from './probe.ts';
import type { MonitorReconcilerDeps } from './reconciler-deps.ts';

/**
 * How often occurrences are counted on the Incident, in ms, so that a busy Monitor causes few
 * writes.
 */
const REPORT_EVERY_MS = 30_000;

/**
 * @returns the new alarms. One that cannot be reported stays unchanged, and the next probe reports
 * it again.
 */
export async function reportAlarms(
  deps: Pick<MonitorReconcilerDeps, 'incidentOpener' | 'log' | 'now'>,
  monitor: Monitor,
  memory: MonitorMemory,
  step: AlarmStep,
  probe: Extract<Probe, { type: 'observed' }>,
): Promise<MonitorAlarm[]> {
  const now = deps.now().getTime();
  const problems: string[] = [];
  const failing = new Map(probe.failing.map((one) => [one.fingerprint, one]));
  const ends = new Map(step.clear.map(({ fingerprint, endTime }) => [fingerprint, endTime]));
  const alarms = await Promise.all(
    step.next.alarms.map(async (alarm): Promise<MonitorAlarm[]> => {
      const { fingerprint } = alarm;
      const found = failing.get(fingerprint);
      if (found !== undefined) {
        // Unreported occurrences of an earlier episode do not belong to this one.
        const before = alarm.occurrences === 1 ? undefined : memory.unreported.get(fingerprint);
        const { count, flaps, reportedAt } = before ?? { count: 0, flaps: 0, reportedAt: 0 };
        const isBack = step.back.includes(fingerprint);
        memory.unreported.set(fingerprint, { count: count + 1, flaps: flaps + (isBack ? 1 : 0), reportedAt });
      }
      try {
        const endTime = ends.get(fingerprint);
        if (endTime !== undefined) {
          const { count, flaps } = memory.unreported.get(fingerprint) ?? { count: 0, flaps: 0 };
          await deps.incidentOpener.clear({
            source: { kind: 'Monitor', name: monitor.metadata.name, fingerprint },
            namespace: monitor.metadata.namespace ?? 'default',
            endTime,
            ...(count === 0 ? {} : { seen: { count, flaps, lastTime: alarm.lastSeen } }),
          });
          memory.unreported.delete(fingerprint);
          return [];
        }
        const unreported = memory.unreported.get(fingerprint);
        const isDue = unreported !== undefined && now - unreported.reportedAt >= REPORT_EVERY_MS;
        const isCounted = alarm.state === 'Firing' && found !== undefined && (isDue || step.back.includes(fingerprint));
        if (!step.raise.includes(fingerprint) && !isCounted) return [alarm];
        const { count, flaps } = unreported ?? { count: 1, flaps: 0 };
        const seen = { count, flaps, lastTime: alarm.lastSeen };
        const raised = await deps.incidentOpener.raise(
          buildAlarm(monitor, alarm, { failing: found, observed: probe.observed }, seen),
        );
        memory.unreported.set(fingerprint, { count: 0, flaps: 0, reportedAt: now });
        return [raised.incident === undefined ? alarm : { ...alarm, incident: raised.incident }];
      } catch (error) {
        problems.push(`the Incident cannot be written: ${errorMessage(error)}`);
        deps.log.warn(
          { monitor: monitor.metadata.name, error: errorMessage(error) },
          'the alarm cannot be reported: trying again after the next probe',
        );
        return [alarm];
      }
    }),
  );
  // Alarms that are gone have nothing left to report.
  const present = new Set(step.next.alarms.map(({ fingerprint }) => fingerprint));
  for (const fingerprint of memory.unreported.keys())
    if (!present.has(fingerprint)) memory.unreported.delete(fingerprint);
  memory.problem = problems[0];
  return alarms.flat();
}
