// One probe of a Monitor: what fails, grouped by groupBy, or why the check could not be observed.

import { createHash } from 'node:crypto';
import type { Monitor, MonitorSpec } from '../../api/monitor.ts';
import { truncate } from '../../api/truncate.ts';
import type { Sample } from '../../checks/cel-protocol.ts';
import { CheckUnreadable } from '../../checks/observation.ts';
import { type CheckContext, checkExpression, describeReading, readCheck } from '../../checks/observe.ts';
import { errorMessage } from '../../errors.ts';
import { listTargets } from './targets.ts';

/** Something that fails: the whole check, or one combination of the labels in groupBy. */
export interface Failing {
  readonly fingerprint: string;
  /** The labels in groupBy that identify it; empty without groupBy. */
  readonly group: Readonly<Record<string, string>>;
  /** Labels of the first failing sample, for texts. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
}

/** The result of a probe. One that failed says nothing about the check. */
export type Probe =
  | {
      readonly type: 'observed';
      readonly time: string;
      readonly observed: string;
      readonly failing: readonly Failing[];
    }
  | {
      readonly type: 'failed';
      readonly time: string;
      readonly reason: 'Unreadable' | 'Forbidden' | 'NotJudged';
      readonly error: string;
    };

/** Maximum lengths in the schema, in characters. */
const MAX_OBSERVED = 2048;
const MAX_VALUE = 64;

/** Runs the check once. Never throws. */
export async function runProbe(monitor: Monitor, context: CheckContext): Promise<Probe> {
  const { check, groupBy } = monitor.spec;
  try {
    const reading = await readCheck(check, listTargets(monitor), context);
    const expression = checkExpression(check);
    const result = await context.cel.evaluate(expression, reading.variables);
    const time = context.now().toISOString();
    const observed = truncate(describeReading(expression, reading), MAX_OBSERVED);
    if (result.type === 'error') {
      return { type: 'failed', time, reason: 'NotJudged', error: `${result.message}; observed: ${observed}` };
    }
    if (result.type === 'passed') return { type: 'observed', time, observed, failing: [] };
    return { type: 'observed', time, observed, failing: groupFailing(monitor, groupBy, reading.samples ?? []) };
  } catch (error) {
    const reason = error instanceof CheckUnreadable && error.forbidden ? 'Forbidden' : 'Unreadable';
    return { type: 'failed', time: context.now().toISOString(), reason, error: errorMessage(error) };
  }
}

function groupFailing(monitor: Monitor, groupBy: MonitorSpec['groupBy'], samples: readonly Sample[]): Failing[] {
  const [first] = samples;
  if (groupBy === undefined || first === undefined) return [failing(monitor, {}, first)];
  const found = new Map<string, Failing>();
  for (const sample of samples) {
    const group = Object.fromEntries([...groupBy].sort().map((label) => [label, sample.labels[label] ?? '']));
    const one = failing(monitor, group, sample);
    if (!found.has(one.fingerprint)) found.set(one.fingerprint, one);
  }
  return [...found.values()];
}

function failing(monitor: Monitor, group: Readonly<Record<string, string>>, sample: Sample | undefined): Failing {
  return {
    fingerprint: computeFingerprint(monitor, group),
    group,
    labels: sample?.labels ?? {},
    value: sample === undefined ? '' : String(sample.value).slice(0, MAX_VALUE),
  };
}

/**
 * The same for all occurrences of an alarm. It depends on the Monitor's name, not its UID, so that
 * a Monitor that is created again finds the Incidents that it opened before.
 */
export function computeFingerprint(
  { metadata }: Pick<Monitor, 'metadata'>,
  group: Readonly<Record<string, string>>,
): string {
  const identity = JSON.stringify(['Monitor', metadata.namespace ?? '', metadata.name, ...Object.entries(group)]);
  return createHash('sha256').update(identity).digest('hex').slice(0, 32);
}
