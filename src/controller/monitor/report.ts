// Tells the alarm book what a look has found, and enters what comes back in the Monitor's alarms.

import type { Monitor, MonitorAlarm } from '../../api/monitor.ts';
import { messageOf } from '../../errors.ts';
import { alarmOf } from './alarm-of.ts';
import type { AlarmStep } from './alarms.ts';
import type { MonitorMemory } from './monitor-memory.ts';
import type { Probe } from './probe.ts';
import type { MonitorReconcilerDeps } from './reconciler-deps.ts';

/** Occurrences are counted on the Incident this often, in ms: a busy Monitor must not keep everybody writing. */
const TELL_EVERY_MS = 30_000;

/** @returns the alarms as they stand now; what could not be told stays as it was, and the next look tells it again */
export async function reportAlarms(
  deps: Pick<MonitorReconcilerDeps, 'book' | 'log' | 'now'>,
  monitor: Monitor,
  memory: MonitorMemory,
  step: AlarmStep,
  sight: Extract<Probe, { type: 'seen' }>,
): Promise<MonitorAlarm[]> {
  const now = deps.now().getTime();
  const problems: string[] = [];
  const failing = new Map(sight.failing.map((one) => [one.fingerprint, one]));
  const ends = new Map(step.clear.map(({ fingerprint, endTime }) => [fingerprint, endTime]));
  const alarms = await Promise.all(
    step.watch.alarms.map(async (alarm): Promise<MonitorAlarm[]> => {
      const { fingerprint } = alarm;
      const found = failing.get(fingerprint);
      if (found !== undefined) {
        // What was not told of an episode before this one is not this one's.
        const before = alarm.occurrences === 1 ? undefined : memory.unreported.get(fingerprint);
        const { count, flaps, reportedAt } = before ?? { count: 0, flaps: 0, reportedAt: 0 };
        const isBack = step.back.includes(fingerprint);
        memory.unreported.set(fingerprint, { count: count + 1, flaps: flaps + (isBack ? 1 : 0), reportedAt });
      }
      try {
        const endTime = ends.get(fingerprint);
        if (endTime !== undefined) {
          const { count, flaps } = memory.unreported.get(fingerprint) ?? { count: 0, flaps: 0 };
          await deps.book.clear({
            fingerprint,
            namespace: monitor.metadata.namespace ?? 'default',
            endTime,
            ...(count === 0 ? {} : { seen: { count, flaps, lastTime: alarm.lastSeen } }),
          });
          memory.unreported.delete(fingerprint);
          return [];
        }
        const untold = memory.unreported.get(fingerprint);
        const isDue = untold !== undefined && now - untold.reportedAt >= TELL_EVERY_MS;
        const isCounted = alarm.state === 'Firing' && found !== undefined && (isDue || step.back.includes(fingerprint));
        if (!step.raise.includes(fingerprint) && !isCounted) return [alarm];
        const { count, flaps } = untold ?? { count: 1, flaps: 0 };
        const seen = { count, flaps, lastTime: alarm.lastSeen };
        const raised = await deps.book.raise(
          alarmOf(monitor, alarm, { failing: found, observed: sight.observed }, seen),
        );
        memory.unreported.set(fingerprint, { count: 0, flaps: 0, reportedAt: now });
        return [raised.incident === undefined ? alarm : { ...alarm, incident: raised.incident }];
      } catch (error) {
        problems.push(`the Incident could not be written: ${messageOf(error)}`);
        deps.log.warn(
          { monitor: monitor.metadata.name, error: messageOf(error) },
          'the alarm could not be told; the next look will',
        );
        return [alarm];
      }
    }),
  );
  // Of alarms that are gone nothing is left to tell.
  const present = new Set(step.watch.alarms.map(({ fingerprint }) => fingerprint));
  for (const fingerprint of memory.unreported.keys())
    if (!present.has(fingerprint)) memory.unreported.delete(fingerprint);
  memory.problem = problems[0];
  return alarms.flat();
}
