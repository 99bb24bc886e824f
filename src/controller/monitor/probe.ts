// One look of a Monitor: what fails, told apart by groupBy; or that nothing could be seen, which is no answer at all.

import { createHash } from 'node:crypto';
import type { Monitor, MonitorSpec } from '../../api/monitor.ts';
import { truncate } from '../../api/truncate.ts';
import type { Sample } from '../../checks/cel-protocol.ts';
import { CheckUnreadable } from '../../checks/observation.ts';
import { type CheckContext, evidenceOf, expressionOf, readCheck } from '../../checks/observe.ts';
import { messageOf } from '../../errors.ts';
import { targetsOf } from './targets.ts';

/** Something that fails: all of the check, or one combination of the labels in groupBy. */
export interface Failing {
  readonly fingerprint: string;
  /** The labels that tell it apart; empty without groupBy. */
  readonly group: Readonly<Record<string, string>>;
  /** Of the first failing sample, for texts. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
}

export type Probe =
  | { readonly type: 'seen'; readonly time: string; readonly observed: string; readonly failing: readonly Failing[] }
  | {
      readonly type: 'unseen';
      readonly time: string;
      readonly reason: 'Unreadable' | 'Forbidden' | 'NotJudged';
      readonly error: string;
    };

/** What the schema lets them be, in characters. */
const MAX_OBSERVED = 2048;
const MAX_VALUE = 64;

/** Looks once. Never throws. */
export async function observe(monitor: Monitor, context: CheckContext): Promise<Probe> {
  const { check, groupBy } = monitor.spec;
  try {
    const reading = await readCheck(check, targetsOf(monitor), context);
    const expression = expressionOf(check);
    const verdict = await context.cel.evaluate(expression, reading.variables);
    const time = context.now().toISOString();
    const observed = truncate(evidenceOf(expression, reading), MAX_OBSERVED);
    if (verdict.type === 'error') {
      return { type: 'unseen', time, reason: 'NotJudged', error: `${verdict.message}; it saw: ${observed}` };
    }
    if (verdict.type === 'passed') return { type: 'seen', time, observed, failing: [] };
    return { type: 'seen', time, observed, failing: failingOf(monitor, groupBy, reading.samples ?? []) };
  } catch (error) {
    const reason = error instanceof CheckUnreadable && error.forbidden ? 'Forbidden' : 'Unreadable';
    return { type: 'unseen', time: context.now().toISOString(), reason, error: messageOf(error) };
  }
}

function failingOf(monitor: Monitor, groupBy: MonitorSpec['groupBy'], samples: readonly Sample[]): Failing[] {
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
    fingerprint: fingerprintOf(monitor, group),
    group,
    labels: sample?.labels ?? {},
    value: sample === undefined ? '' : String(sample.value).slice(0, MAX_VALUE),
  };
}

/** The same for all occurrences; by the Monitor's name, so that one that is made anew finds what it had opened. */
export function fingerprintOf(
  { metadata }: Pick<Monitor, 'metadata'>,
  group: Readonly<Record<string, string>>,
): string {
  const identity = JSON.stringify(['Monitor', metadata.namespace ?? '', metadata.name, ...Object.entries(group)]);
  return createHash('sha256').update(identity).digest('hex').slice(0, 32);
}
