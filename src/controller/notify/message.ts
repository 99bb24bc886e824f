// Builds messages about the end of an Incident, so that every try sends the same. Pure.

import { type Command, renderCommand } from '../../api/command.ts';
import { CONDITIONS, type Incident, listTargetNamespaces } from '../../api/incident.ts';
import type { Handover, Notification } from '../../api/incident-status.ts';
import { findCondition } from '../../api/meta.ts';
import { truncate } from '../../api/truncate.ts';

export type NotifiedEvent = Notification['event'];

/** Text of authors and agents, or a command as a person can paste it. */
type PartLine = string | { readonly command: string };

/** A heading and the lines below it. */
interface Part {
  readonly title: string;
  readonly lines: readonly PartLine[];
}

/**
 * The event to notify about; undefined while the Incident lasts, and for ends without notification.
 */
export function findEvent(incident: Incident): NotifiedEvent | undefined {
  const { status } = incident;
  if (findCondition(status?.conditions, CONDITIONS.Finished)?.status !== 'True') return undefined;
  return status?.phase === 'Escalated' || status?.phase === 'Resolved' ? status.phase : undefined;
}

/** Identical for every try of one message, and different from every other message. */
export function idempotencyKey(incident: Incident, receiver: string, event: NotifiedEvent): string {
  return `${incident.metadata.uid}-${event}-${receiver}`;
}

/** In Slack's older format, which Mattermost, Rocket.Chat and Discord's /slack also accept. */
export function slackBody(incident: Incident, event: NotifiedEvent): string {
  const title = `${event}: ${incident.spec.summary} (${where(incident)})`;
  return JSON.stringify({
    text: neutralize(title),
    attachments: [
      {
        color: event === 'Resolved' ? 'good' : incident.spec.severity === 'critical' ? 'danger' : 'warning',
        fallback: neutralize(title),
        text: slackText(listParts(incident, event)),
        mrkdwn_in: ['text'],
        fields: listFacts(incident).map(([name, value]) => ({ title: name, value: neutralize(value), short: true })),
      },
    ],
  });
}

/** Cut at a line, if the next one is a command: a part of a command is another command. */
function slackText(parts: readonly Part[]): string {
  let text = '';
  for (const { title, lines } of parts) {
    if (lines.length === 0) continue;
    text += `${text === '' ? '' : '\n\n'}*${title}*`;
    for (const line of lines) {
      const isText = typeof line === 'string';
      const shown = `\n${isText ? neutralize(line) : slackCommand(line.command)}`;
      if (text.length + shown.length + 2 > MAX_TEXT) return truncate(isText ? text + shown : `${text}\n…`, MAX_TEXT);
      text += shown;
    }
  }
  return text;
}

/** A block of code, in which chats change nothing. */
function slackCommand(command: string): string {
  if (command.includes('`')) return 'its command cannot be shown here; oplab incident show has it';
  return `\`\`\`${escapeMarkup(command)}\`\`\``;
}

/** For programs: the relevant parts of spec and status, under their own names. */
export function webhookBody(incident: Incident, receiver: string, event: NotifiedEvent): string {
  const { metadata, spec, status } = incident;
  return JSON.stringify({
    version: '1',
    event,
    idempotencyKey: idempotencyKey(incident, receiver, event),
    incident: {
      namespace: metadata.namespace,
      name: metadata.name,
      uid: metadata.uid,
      summary: spec.summary,
      description: spec.description,
      severity: spec.severity,
      targetNamespaces: listTargetNamespaces(incident),
      source: spec.source,
      alertLabels: spec.alertLabels,
      phase: status?.phase,
      reason: endReason(incident),
      message: status?.message,
      startTime: status?.startTime,
      finishTime: status?.finishTime,
      attempts: status?.attempts?.length ?? 0,
    },
    claim: status?.claim,
    verification: status?.verification,
    handover: status?.handover === undefined ? undefined : withShellText(status.handover),
    changes: status?.changes,
    usage: status?.usage,
    audit: {
      sessionID: status?.audit?.sessionID,
      entries: status?.audit?.entries,
      sealedHeadHash: status?.audit?.sealedHeadHash,
    },
  });
}

/** Whoever shows a step as text needs its command quoted; words joined by blanks are not. */
function withShellText(handover: Handover) {
  const nextSteps = handover.nextSteps.map((step) => ({ ...step, shell: renderCommand(step.command ?? []) }));
  return { ...handover, nextSteps };
}

function listParts(incident: Incident, event: NotifiedEvent): Part[] {
  const { metadata, status, spec } = incident;
  const trail = {
    title: 'Full trail',
    lines: commandLines(['oplab', 'audit', 'show', metadata.name, '-n', metadata.namespace ?? 'default']),
  };
  const { claim, handover } = status ?? {};
  if (event === 'Escalated') {
    if (handover !== undefined) {
      return [
        { title: 'Summary', lines: [handover.summary] },
        { title: 'Attempts', lines: bullets(handover.attempts) },
        { title: 'Changes', lines: bullets(handover.changes) },
        {
          title: 'Next steps',
          lines: handover.nextSteps.flatMap(({ what, command = [] }) => [...bullets([what]), ...commandLines(command)]),
        },
        trail,
      ];
    }
    const failing = (status?.verification ?? []).filter(({ passing }) => !passing);
    return [
      { title: 'Why', lines: status?.message === undefined ? [] : [status.message] },
      {
        title: 'Statement of the agent',
        lines: claim === undefined ? [] : [claim.summary, claim.rootCause].filter((line) => line !== ''),
      },
      {
        title: 'Failing checks',
        lines: bullets(failing.map(({ name, observed, error }) => `${name}: ${error ?? observed ?? ''}`)),
      },
      trail,
    ];
  }
  const evidence = (status?.verification ?? []).map(
    ({ name, passing, observed }) =>
      `${name}: ${passing ? 'holds' : 'does not hold'}${observed === undefined ? '' : ` (${truncate(observed, MAX_EVIDENCE)})`}`,
  );
  return [
    { title: 'Outcome', lines: status?.message === undefined ? [] : [status.message] },
    {
      title: 'Cause according to the agent',
      lines: claim === undefined || claim.rootCause === '' ? [] : [claim.rootCause],
    },
    { title: 'Actions', lines: bullets(claim?.actions ?? []) },
    {
      title: `Checks, held for ${spec.verify.soakSeconds} s without interruption`,
      lines: status?.soak?.startTime === undefined ? [] : bullets(evidence),
    },
    trail,
  ];
}

function commandLines(command: Command): PartLine[] {
  const text = renderCommand(command);
  return text === undefined ? [] : [{ command: text }];
}

function listFacts(incident: Incident): [string, string][] {
  const { status, spec } = incident;
  const facts: [string, string | undefined][] = [
    ['Incident', where(incident)],
    ['Severity', spec.severity],
    ['Reason', endReason(incident)],
    ['Attempts', String(status?.attempts?.length ?? 0)],
    ['Duration', duration(incident)],
    ['Cost', status?.usage === undefined ? undefined : `$${(status.usage.costMilliUSD / 1000).toFixed(3)}`],
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
}

/** From the start of the first attempt, or the creation of an Incident without one, to the end. */
function duration(incident: Incident): string | undefined {
  const { status, metadata } = incident;
  const start = status?.startTime ?? metadata.creationTimestamp;
  if (start === undefined || status?.finishTime === undefined) return undefined;
  const seconds = Math.max(0, Math.round((Date.parse(status.finishTime) - Date.parse(start)) / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const where = ({ metadata }: Incident) => `${metadata.namespace}/${metadata.name}`;
const endReason = ({ status }: Incident) =>
  findCondition(status?.conditions, CONDITIONS.Succeeded)?.reason ??
  findCondition(status?.conditions, CONDITIONS.Finished)?.reason;
const bullets = (lines: readonly string[]) => lines.map((line) => `• ${line}`);

/** Slack would cut a longer attachment in the middle of a word, without a mark. In characters. */
const MAX_TEXT = 7000;
const MAX_EVIDENCE = 200;
const MAX_LINE = 1500;

/**
 * Neutralizes markup in texts of agents and alarms: disguised links, mentions (@channel), and code,
 * which only commands are.
 */
function neutralize(text: string): string {
  return escapeMarkup(truncate(text, MAX_LINE))
    .replaceAll('`', "'")
    .replaceAll(/@(?=\w)/g, '@\u200b');
}

function escapeMarkup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
