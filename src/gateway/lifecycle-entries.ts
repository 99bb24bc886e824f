// Computes the lifecycle entries that an Incident's status calls for and the log lacks. Pure.
//
// Client keys contain the facts of the step (attempt, transition time), and texts contain only
// facts that no longer change. The same step therefore gives the same entry after a restart, and
// the log ignores the repetition.

import * as z from 'zod';
import { CONDITIONS, type Incident, listTargetNamespaces } from '../api/incident.ts';
import { findCondition } from '../api/meta.ts';
import type { Entry, NewEntry } from '../audit/entry.ts';
import { lifecycleEvent, openedEntry } from '../audit/lifecycle.ts';

/** An entry to write and the attempt that it belongs to (0: none). */
export interface LifecycleEntry {
  readonly attempt: number;
  readonly entry: NewEntry;
}

/** The state already on record that cannot be derived from client keys. */
export interface RecordedState {
  /** Whether each check was passing when it was last recorded. */
  readonly checks: ReadonlyMap<string, boolean>;
  readonly soakRestarts: number;
}

const checkParams = z.looseObject({ check: z.string(), passing: z.boolean() });
const soakParams = z.looseObject({ restarts: z.number().int() });

/** Restores the recorded state from the log after a restart. */
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

/** The recorded state after the lifecycle entries of this Incident have been written. */
export function recordedState(incident: Incident): RecordedState {
  return {
    checks: new Map((incident.status?.verification ?? []).map((check) => [check.name, check.passing])),
    soakRestarts: incident.status?.soak?.restarts ?? 0,
  };
}

function step(clientKey: string, event: string, content: string, facts: Record<string, NewEntry['params']>): NewEntry {
  return { clientKey, kind: 'lifecycle', params: { event, ...facts }, content };
}

/** The entries that an Incident's current state calls for, in chronological order. */
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
      targetNamespaces: [...listTargetNamespaces(incident)],
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
        `attempt ${number} started with pod ${podName} and model ${model}`,
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
        step(`attempt-pod:${number}`, 'attempt_pod', `attempt ${number} runs in pod ${podName} (UID ${podUID})`, {
          attempt: number,
          podName,
          podUID,
        }),
      );
    }
    if (endTime !== undefined && reason !== undefined) {
      // The reason may still change: the checks may not confirm the claim that ended the attempt.
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
          ? `check ${checkName} has been passing since ${since}`
          : `check ${checkName} is failing${error === undefined ? '' : `: ${error}`}`,
        { check: checkName, passing, since, observed: observed ?? null, error: error ?? null },
      ),
    );
  }

  const restarts = status?.soak?.restarts ?? 0;
  for (let count = recorded.soakRestarts + 1; count <= restarts; count += 1) {
    add(
      latest,
      step(
        `soak-restarted:${count}`,
        'soak_restarted',
        `a check failed during the soak; restart ${count} of the soak`,
        {
          restarts: count,
        },
      ),
    );
  }

  const verified = findCondition(status?.conditions, CONDITIONS.Verified);
  if (verified?.status === 'True') {
    add(
      latest,
      step(`verified:${verified.lastTransitionTime}`, 'verified', 'verified: all checks passed throughout the soak', {
        since: verified.lastTransitionTime,
      }),
    );
  }

  if (spec.cancel)
    add(latest, step('cancel-requested', 'cancel_requested', 'cancellation of the Incident was requested', {}));
  if (metadata.deletionTimestamp !== undefined) {
    add(latest, step('deletion-requested', 'deletion_requested', 'deletion of the Incident was requested', {}));
  }
  return entries;
}
