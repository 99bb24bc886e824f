// The lifecycle entries of an Incident: the pure difference between what is on record and what the status says now.
//
// Client keys are made of what they tell (attempt, transition time), and texts of what does not change any more, so that a
// restart neither doubles nor loses an entry: the same step gives the same entry, and the log drops the second one.

import { z } from 'zod';
import { CONDITIONS, type Incident, targetNamespacesOf } from '../api/incident.ts';
import { findCondition } from '../api/meta.ts';
import type { Entry, NewEntry } from '../audit/entry.ts';
import { lifecycleEvent, openedEntry } from '../audit/lifecycle.ts';

/** An entry to be written, and the attempt that it belongs to (0: none). */
export interface LifecycleEntry {
  readonly attempt: number;
  readonly entry: NewEntry;
}

/** What is on record already, as far as keys alone cannot tell. */
export interface RecordedState {
  /** Whether each check was passing when it was last written down. */
  readonly checks: ReadonlyMap<string, boolean>;
  readonly soakRestarts: number;
}

export const NOTHING_RECORDED: RecordedState = { checks: new Map(), soakRestarts: 0 };

const checkParams = z.looseObject({ check: z.string(), passing: z.boolean() });
const soakParams = z.looseObject({ restarts: z.number().int() });

/** Restores what is on record from the log, after a restart. */
export function restore(entries: Iterable<Pick<Entry, 'kind' | 'writer' | 'params'>>): RecordedState {
  const checks = new Map<string, boolean>();
  let soakRestarts = 0;
  for (const entry of entries) {
    if (entry.writer !== 'gateway' || entry.kind !== 'lifecycle') continue;
    const event = lifecycleEvent(entry);
    if (event === 'check') {
      const check = checkParams.safeParse(entry.params);
      if (check.success) checks.set(check.data.check, check.data.passing);
    } else if (event === 'soak_restarted') {
      const soak = soakParams.safeParse(entry.params);
      if (soak.success) soakRestarts = Math.max(soakRestarts, soak.data.restarts);
    }
  }
  return { checks, soakRestarts };
}

/** What is on record once the lifecycle entries of this Incident are. */
export function recordedStateOf(incident: Incident): RecordedState {
  return {
    checks: new Map((incident.status?.verification ?? []).map((check) => [check.name, check.passing])),
    soakRestarts: incident.status?.soak?.restarts ?? 0,
  };
}

function step(clientKey: string, event: string, content: string, facts: Record<string, NewEntry['params']>): NewEntry {
  return { clientKey, kind: 'lifecycle', params: { event, ...facts }, content };
}

/** The entries that an Incident's present state calls for, in the order in which its life goes. */
export function lifecycleEntries(recorded: RecordedState, incident: Incident): LifecycleEntry[] {
  const { metadata, spec, status } = incident;
  const entries: LifecycleEntry[] = [];
  const add = (attempt: number, entry: NewEntry) => entries.push({ attempt, entry });
  const { namespace = '', name, uid } = metadata;

  add(
    0,
    openedEntry({ namespace, name, uid }, spec.summary, {
      severity: spec.severity,
      agentClass: spec.agentClassName,
      targetNamespaces: [...targetNamespacesOf(incident)],
    }),
  );

  const attempts = [...(status?.attempts ?? [])].sort((left, right) => left.number - right.number);
  const latest = attempts.at(-1)?.number ?? 0;
  for (const attempt of attempts) {
    const { number, podName, serviceAccountName, startTime, podUID, endTime, reason, message } = attempt;
    const { name: className, generation, mode, model, summaryModel } = attempt.class;
    add(
      number,
      step(
        `attempt-started:${number}`,
        'attempt_started',
        `attempt ${number} started: pod ${podName}, model ${model}`,
        {
          attempt: number,
          podName,
          serviceAccountName,
          startTime,
          class: { name: className, generation, mode, model, summaryModel },
        },
      ),
    );
    if (podUID !== undefined) {
      add(
        number,
        step(`attempt-pod:${number}`, 'attempt_pod', `attempt ${number} runs in pod ${podName} (${podUID})`, {
          attempt: number,
          podName,
          podUID,
        }),
      );
    }
    if (endTime !== undefined && reason !== undefined) {
      // The reason may still change: a claim that ended the attempt can turn out false.
      add(
        number,
        step(
          `attempt-ended:${number}:${reason}`,
          'attempt_ended',
          `attempt ${number} ended: ${reason}${message === undefined || message === '' ? '' : ` (${message})`}`,
          { attempt: number, reason, message: message ?? '', endTime },
        ),
      );
    }
  }

  for (const check of status?.verification ?? []) {
    const { name: checkName, passing, observedTime, passingSince, observed, error } = check;
    if (recorded.checks.get(checkName) === passing) continue;
    const since = passing ? (passingSince ?? observedTime) : observedTime;
    add(
      latest,
      step(
        `check:${checkName}:${passing ? 'passing' : 'failing'}:${since}`,
        'check',
        passing
          ? `check ${checkName} holds since ${since}`
          : `check ${checkName} does not hold${error === undefined ? '' : `: ${error}`}`,
        { check: checkName, passing, since, observed: observed ?? null, error: error ?? null },
      ),
    );
  }

  const restarts = status?.soak?.restarts ?? 0;
  for (let count = recorded.soakRestarts + 1; count <= restarts; count += 1) {
    add(
      latest,
      step(`soak-restarted:${count}`, 'soak_restarted', `a check broke during the soak: it starts again (${count})`, {
        restarts: count,
      }),
    );
  }

  const verified = findCondition(status?.conditions, CONDITIONS.Verified);
  if (verified?.status === 'True') {
    add(
      latest,
      step(`verified:${verified.lastTransitionTime}`, 'verified', 'verified: all checks held through the soak', {
        since: verified.lastTransitionTime,
      }),
    );
  }

  if (spec.cancel) add(latest, step('cancel-requested', 'cancel_requested', 'the Incident is cancelled', {}));
  if (metadata.deletionTimestamp !== undefined) {
    add(latest, step('deletion-requested', 'deletion_requested', 'the Incident is being deleted', {}));
  }
  return entries;
}
