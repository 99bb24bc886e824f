// Builds the hand-over of an escalated Incident for the person on call, from its status. Pure.

import { BASELINE, type Check } from '../../api/check.ts';
import { type Command, renderCommand } from '../../api/command.ts';
import { type Incident, listTargetNamespaces } from '../../api/incident.ts';
import {
  type Attempt,
  type EnteredPods,
  type Handover,
  type HandoverStep,
  MAX_STEPS,
} from '../../api/incident-status.ts';
import { truncate } from '../../api/truncate.ts';
import { failingEvidence } from '../../checks/soak.ts';
import { baselineCommand, describeObservation } from './observation-commands.ts';

/** The longest line, in characters, and the most lines that the schema allows. */
const MAX_LINE = 1024;
const MAX_LINES = 16;
/** Parts of `summary`, which may have 4096 characters. */
const EVIDENCE = 2200;
const DIAGNOSIS = 600;

/** @param reason why the Incident ends: the reason of its condition Finished */
export function buildHandover(incident: Incident, reason: string): Handover {
  return {
    summary: summarize(incident),
    attempts: describeAttempts(incident),
    changes: describeChanges(incident),
    nextSteps: adviseNextSteps(incident, reason),
  };
}

/**
 * The hand-over of an Incident, shortened to the 1024 characters of an event. It has no commands of
 * its steps: a shortened command is another command.
 */
export function handoverNote({ summary, changes, nextSteps }: Handover, incident: Incident): string {
  const command = renderCommand(['oplab', 'incident', 'show', fullName(incident)]) ?? '';
  return [
    `summary: ${truncate(summary, 450)}`,
    `changes: ${truncate(changes.join('; '), 200)}`,
    `next steps: ${truncate(nextSteps.map(({ what }) => what).join('; '), 180)}`,
    ...(command.length > 150 ? [] : [`commands: ${command}`]),
  ].join('\n');
}

function fullName({ metadata }: Pick<Incident, 'metadata'>): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function summarize({ spec, status }: Incident): string {
  const results = status?.verification ?? [];
  const failing = results.filter((result) => !result.passing);
  const lastObserved = results
    .map((result) => result.observedTime)
    .sort()
    .at(-1);
  const share = Math.floor(EVIDENCE / Math.max(1, failing.length));
  const { claim } = status ?? {};
  return [
    truncate(spec.summary, MAX_LINE / 2),
    lastObserved === undefined
      ? 'the checks were never observed'
      : failing.length > 0
        ? `failing at the last observation (${lastObserved}):`
        : `all checks held at the last observation (${lastObserved}), but no claimed repair was verified`,
    ...failing.map((result) => `- ${truncate(failingEvidence([result]), share)}`),
    ...(claim === undefined
      ? ['no agent reached a diagnosis']
      : [
          `the agent of attempt ${claim.attempt} says: ${claim.outcome}: ${truncate(claim.summary, DIAGNOSIS)}`,
          ...(claim.rootCause === '' ? [] : [`cause according to the agent: ${truncate(claim.rootCause, DIAGNOSIS)}`]),
        ]),
  ].join('\n');
}

function describeAttempts({ status }: Incident): string[] {
  const attempts = (status?.attempts ?? []).slice(-MAX_LINES);
  const { claim } = status ?? {};
  return attempts.map((attempt) => {
    // With ChecksFailed, the message lists the actions already.
    const listsActions =
      claim?.attempt === attempt.number && claim.actions.length > 0 && attempt.reason !== 'ChecksFailed';
    const actions = listsActions ? `; actions: ${claim.actions.join('; ')}` : '';
    return truncate(
      `attempt ${attempt.number}${duration(attempt)}: ${attempt.reason}: ${attempt.message ?? ''}${actions}`,
      MAX_LINE,
    );
  });
}

function duration({ startTime, endTime }: Attempt): string {
  if (endTime === undefined) return '';
  return ` (${Math.round((Date.parse(endTime) - Date.parse(startTime)) / 1000)} s)`;
}

function describeChanges({ status }: Incident): string[] {
  const { changes } = status ?? {};
  if (changes === undefined) return ['unknown: the gateway has not reported any count of writes'];
  if (changes.count === 0) return ['none through the API server; the trail shows what commands did over the network'];
  const left = describeEnteredPods(changes.enteredPods);
  const shown = changes.last.slice(-(MAX_LINES - 1 - left.length));
  const lines = shown.map(({ attempt, seq, text }) => truncate(`${text} (attempt ${attempt}, entry ${seq})`, MAX_LINE));
  return changes.count > shown.length
    ? [`${changes.count} writes in total; the last ${shown.length}:`, ...lines, ...left]
    : [...lines, ...left];
}

/** A lease ends with its attempt. What a command has started in a pod of the target does not. */
function describeEnteredPods(entered: EnteredPods | undefined): string[] {
  if (entered === undefined) return [];
  const names = entered.last.map(({ namespace, name, by }) => `${namespace}/${name} (${by.join(', ')})`).reverse();
  const pods = entered.count === 1 ? 'a pod' : `${entered.count} pods`;
  return [truncate(`processes of the agent may still run in ${pods}: ${names.join(', ')}`, MAX_LINE)];
}

/** The most pods that one command names. */
const MAX_NAMES = 16;

function inspectEnteredPods({ last = [] }: Partial<EnteredPods> = {}): HandoverStep[] {
  return Object.entries(Object.groupBy(last, ({ namespace }) => namespace)).map(([namespace, pods = []]) =>
    step(`pods in ${namespace} in which processes of the agent may still run; delete those that an owner replaces`, [
      ...['kubectl', 'get', 'pods', '-n', namespace],
      ...pods.slice(-MAX_NAMES).map(({ name }) => name),
    ]),
  );
}

function adviseNextSteps(incident: Incident, reason: string): HandoverStep[] {
  const { spec, status } = incident;
  const targets = listTargetNamespaces(incident);
  const name = fullName(incident);
  const results = status?.verification ?? [];
  const fails = (check: Pick<Check, 'name'>) => !results.some((result) => result.name === check.name && result.passing);
  const trail = ['oplab', 'audit', 'show', name, '--full'];
  const baseline = 'workloads or volumes differ from the recorded ones';
  const observations = [
    ...(results.some((result) => result.name === BASELINE) && fails({ name: BASELINE })
      ? targets.map((target) => step(`${BASELINE}: ${baseline}; those in ${target}`, baselineCommand(target)))
      : []),
    ...spec.verify.checks.filter(fails).map((check) => {
      const { what, command } = describeObservation(check, targets);
      return step(what, command);
    }),
  ];
  const rest = [
    ...targets.map((target) =>
      step(`events in ${target}`, ['kubectl', 'get', 'events', '-n', target, '--sort-by=.lastTimestamp']),
    ),
    step('reasoning, commands and output of the agent', trail),
    ...(status?.changes?.count ? [step('changes by the agent', [...trail, '--kind', 'kube_intent,kube_outcome'])] : []),
    ...inspectEnteredPods(status?.changes?.enteredPods),
    adviceFor(reason, incident),
  ];
  const room = MAX_STEPS - rest.length;
  const shown =
    observations.length > room
      ? [
          ...observations.slice(0, room - 1),
          step(`${observations.length - room + 1} more checks fail`, ['oplab', 'incident', 'show', name]),
        ]
      : observations;
  return [...shown, ...rest];
}

/** On one line. A command that cannot be shown safely is left out; `what` stays. */
function step(what: string, command?: Command): HandoverStep {
  const isShown = command !== undefined && renderCommand(command) !== undefined;
  return { what: truncate(what.replaceAll(/\s+/g, ' '), MAX_LINE), ...(isShown ? { command: [...command] } : {}) };
}

/** The next step that follows from the reason of the end. */
function adviceFor(reason: string, { spec, status, metadata }: Incident): HandoverStep {
  const describeIncident = ['kubectl', 'describe', 'incident', metadata.name, '-n', metadata.namespace ?? 'default'];
  switch (reason) {
    case 'LimitReached': {
      const { limits, usage } = status ?? {};
      const limit = usage?.limitReached ?? 'time';
      if (limit === 'record') {
        return step(
          'the agent wrote more to the audit log than one Incident may: look in its trail for what filled it, and if that was useful work, raise audit.session in the values of the chart and create a new Incident',
        );
      }
      const configured = limits === undefined ? '' : ` (${JSON.stringify(limits)})`;
      return step(
        `the limit on ${limit} was too low${configured}: create a new Incident with higher spec.limits, up to the ceilings of AgentClass ${spec.agentClassName}`,
      );
    }
    case 'ModelFailed':
      return step(
        'no agent can work until the cause that the last attempt names is removed; then create a new Incident',
        ['oplab', 'incident', 'show', fullName({ metadata })],
      );
    case 'UnexplainedWrite':
      return step(
        'a process in the sandbox acted without a recorded command: compare what the targets are with what the trail says, and do not rely on the output of the last commands',
      );
    case 'AuditBroken':
      return step(
        'the audit log was changed outside of the gateway: keep the volume as evidence, and find out who had access to it',
        ['oplab', 'audit', 'verify', fullName({ metadata })],
      );
    case 'TripwireTouched':
      return step(
        'the agent touched what no repair needs: read the commands and output before it, for text that misled the agent, before you create a new Incident',
      );
    case 'DayLimitReached':
      return step(
        `AgentClass ${spec.agentClassName} has used its quota of the day: to let an agent try again, create a new Incident after midnight UTC, or after spec.quota of the class was raised`,
      );
    case 'AttemptsExhausted':
      return status?.attempts?.every((attempt) => attempt.reason === 'StartFailed')
        ? step('no pod ever started; to find out why', describeIncident)
        : step('this Incident is finished; to let an agent try again, or once the cause is removed, create a new one');
    default:
      return step('this Incident is finished; to let an agent try again with more information, create a new one');
  }
}
