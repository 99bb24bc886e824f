// The hand-over of an escalated Incident: what a person needs at three in the morning, made of what is on record. Pure.

import { BASELINE, type Check } from '../../api/check.ts';
import { type Attempt, type Handover, type Incident, targetNamespacesOf } from '../../api/incident.ts';
import { truncate } from '../../api/truncate.ts';
import { failingEvidence } from '../../checks/soak.ts';
import { baselineCommand, checkCommand } from './observation-commands.ts';

/** What the schema lets a line be, and how many there may be. */
const MAX_LINE = 1024;
const MAX_LINES = 16;
/** Shares of `summary`, which may have 4096 characters. */
const EVIDENCE = 2200;
const DIAGNOSIS = 600;

/** @param reason why the Incident ends: the reason of its condition Finished */
export function handoverOf(incident: Incident, reason: string): Handover {
  return {
    summary: summarize(incident),
    attempts: describeAttempts(incident),
    changes: describeChanges(incident),
    nextSteps: adviseNextSteps(incident, reason),
  };
}

/** The hand-over as an event may hold it, in characters. */
export function handoverNote({ summary, changes, nextSteps }: Handover): string {
  return [
    `summary: ${truncate(summary, 450)}`,
    `changes: ${truncate(changes.join('; '), 200)}`,
    `next steps: ${truncate(nextSteps.join('; '), 330)}`,
  ].join('\n');
}

function summarize({ spec, status }: Incident): string {
  const results = status?.verification ?? [];
  const failing = results.filter((result) => !result.passing);
  const seen = results.map((result) => result.observedTime).sort();
  const when = seen.at(-1) ?? 'never';
  const share = Math.floor(EVIDENCE / Math.max(1, failing.length));
  const { claim } = status ?? {};
  return [
    truncate(spec.summary, MAX_LINE / 2),
    failing.length > 0 || results.length === 0
      ? `failing when last looked at (${when}):`
      : `all checks held when last looked at (${when}), but no claim of a repair stood up`,
    ...failing.map((result) => `- ${truncate(failingEvidence([result]), share)}`),
    ...(claim === undefined
      ? ['no agent got as far as a diagnosis']
      : [
          `the agent of attempt ${claim.attempt} says: ${claim.outcome}: ${truncate(claim.summary, DIAGNOSIS)}`,
          ...(claim.rootCause === '' ? [] : [`the cause, as it sees it: ${truncate(claim.rootCause, DIAGNOSIS)}`]),
        ]),
  ].join('\n');
}

function describeAttempts({ status }: Incident): string[] {
  const attempts = (status?.attempts ?? []).slice(-MAX_LINES);
  const { claim } = status ?? {};
  return attempts.map((attempt) => {
    const did =
      claim?.attempt === attempt.number && claim.actions.length > 0 ? `; it did: ${claim.actions.join('; ')}` : '';
    // The message of a claim that the checks did not confirm tells the actions already.
    const more = attempt.reason === 'ChecksFailed' ? '' : did;
    return truncate(
      `attempt ${attempt.number}${span(attempt)}: ${attempt.reason}: ${attempt.message ?? ''}${more}`,
      MAX_LINE,
    );
  });
}

function span({ startTime, endTime }: Attempt): string {
  if (endTime === undefined) return '';
  return ` (${Math.round((Date.parse(endTime) - Date.parse(startTime)) / 1000)} s)`;
}

function describeChanges({ status }: Incident): string[] {
  const { changes } = status ?? {};
  if (changes === undefined) return ['not known: the gateway has not said'];
  if (changes.count === 0)
    return ['nothing through the API server; what commands did over the network, the trail tells'];
  const shown = changes.last.slice(-(MAX_LINES - 1));
  const lines = shown.map(({ attempt, seq, text }) => truncate(`${text} (attempt ${attempt}, entry ${seq})`, MAX_LINE));
  return changes.count > shown.length ? [`${changes.count} writes in all, the last ${shown.length}:`, ...lines] : lines;
}

function adviseNextSteps(incident: Incident, reason: string): string[] {
  const { spec, status, metadata } = incident;
  const targets = targetNamespacesOf(incident);
  const name = `${metadata.namespace}/${metadata.name}`;
  const results = status?.verification ?? [];
  const fails = (check: Pick<Check, 'name'>) => !results.some((result) => result.name === check.name && result.passing);
  const looks = [
    ...(results.length > 0 && results.some((result) => result.name === BASELINE) && fails({ name: BASELINE })
      ? [`${BASELINE}: what stood before is not all there: ${baselineCommand(targets)}`]
      : []),
    ...spec.verify.checks.filter(fails).map((check) => checkCommand(check, targets)),
  ];
  const rest = [
    `events: ${targets.map((target) => `kubectl get events -n ${target} --sort-by=.lastTimestamp`).join('; ')}`,
    `what the agent thought, ran and saw: oplab audit show ${name} --full`,
    ...(status?.changes?.count
      ? [`what it changed: oplab audit show ${name} --full --kind kube_intent,kube_outcome`]
      : []),
    ...adviceFor(reason, incident),
  ];
  const room = MAX_LINES - rest.length;
  const shown =
    looks.length > room
      ? [...looks.slice(0, room - 1), `${looks.length - room + 1} more checks fail: oplab incident show ${name}`]
      : looks;
  return [...shown, ...rest].map((line) => truncate(line, MAX_LINE));
}

/** What the reason of the end itself suggests. */
function adviceFor(reason: string, { spec, status, metadata }: Incident): string[] {
  const name = `${metadata.name} -n ${metadata.namespace}`;
  switch (reason) {
    case 'LimitReached': {
      const { limits, usage } = status ?? {};
      const spent = usage?.limitReached ?? 'time';
      const most = limits === undefined ? '' : ` (${JSON.stringify(limits)})`;
      return [
        `the limit of ${spent} was too small${most}: create the Incident anew with more in spec.limits, up to the ceilings of AgentClass ${spec.agentClassName}`,
      ];
    }
    case 'AttemptsExhausted':
      return status?.attempts?.every((attempt) => attempt.reason === 'StartFailed')
        ? [`no pod ever started; why: kubectl describe incident ${name}`]
        : ['once the cause is gone, or to let an agent try again, create the Incident anew: this one is finished'];
    default:
      return ['to let an agent try again with more to go on, create the Incident anew: this one is finished'];
  }
}
