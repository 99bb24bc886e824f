// What people are told of the end of an Incident. Pure; made of the status alone, so that every try says the same.

import { CONDITIONS, type Incident, type Notification, targetNamespacesOf } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import { truncate } from '../../api/truncate.ts';

export type NotifiedEvent = Notification['event'];

/** What stands under one heading. */
interface Part {
  readonly title: string;
  readonly lines: readonly string[];
}

/** The event that an Incident's end is; undefined while it lasts, and for ends that nobody has to be told of. */
export function eventOf(incident: Incident): NotifiedEvent | undefined {
  const { status } = incident;
  if (findCondition(status?.conditions, CONDITIONS.Finished)?.status !== 'True') return undefined;
  return status?.phase === 'Escalated' || status?.phase === 'Resolved' ? status.phase : undefined;
}

/** The same for every try of one message, and for no other. */
export function idempotencyKey(incident: Incident, receiver: string, event: NotifiedEvent): string {
  return `${incident.metadata.uid}-${event}-${receiver}`;
}

/** In Slack's older form, which Mattermost, Rocket.Chat and Discord's /slack understand as well. */
export function slackBody(incident: Incident, event: NotifiedEvent): string {
  const title = `${event}: ${incident.spec.summary} (${where(incident)})`;
  const text = partsOf(incident, event)
    .filter(({ lines }) => lines.length > 0)
    .map(({ title: heading, lines }) => `*${heading}*\n${lines.map(quiet).join('\n')}`)
    .join('\n\n');
  return JSON.stringify({
    text: quiet(title),
    attachments: [
      {
        color: event === 'Resolved' ? 'good' : incident.spec.severity === 'critical' ? 'danger' : 'warning',
        fallback: quiet(title),
        text: truncate(text, MAX_TEXT),
        mrkdwn_in: ['text'],
        fields: factsOf(incident).map(([name, value]) => ({ title: name, value: quiet(value), short: true })),
      },
    ],
  });
}

/** For programs: the parts of spec and status that matter, by their own names. */
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
      targetNamespaces: targetNamespacesOf(incident),
      source: spec.source,
      alertLabels: spec.alertLabels,
      phase: status?.phase,
      reason: reasonOf(incident),
      message: status?.message,
      startTime: status?.startTime,
      finishTime: status?.finishTime,
      attempts: status?.attempts?.length ?? 0,
    },
    claim: status?.claim,
    verification: status?.verification,
    handover: status?.handover,
    changes: status?.changes,
    usage: status?.usage,
    audit: {
      sessionID: status?.audit?.sessionID,
      entries: status?.audit?.entries,
      sealedHeadHash: status?.audit?.sealedHeadHash,
    },
  });
}

function partsOf(incident: Incident, event: NotifiedEvent): Part[] {
  const { status, spec } = incident;
  const show = {
    title: 'The whole trail',
    lines: [`oplab audit show ${incident.metadata.name} -n ${incident.metadata.namespace}`],
  };
  const { claim, handover } = status ?? {};
  if (event === 'Escalated') {
    if (handover !== undefined) {
      return [
        { title: 'Summary', lines: [handover.summary] },
        { title: 'Attempts', lines: bullets(handover.attempts) },
        { title: 'Changes', lines: bullets(handover.changes) },
        { title: 'Next steps', lines: bullets(handover.nextSteps) },
        show,
      ];
    }
    const failing = (status?.verification ?? []).filter(({ passing }) => !passing);
    return [
      { title: 'Why', lines: status?.message === undefined ? [] : [status.message] },
      {
        title: 'The agent says',
        lines: claim === undefined ? [] : [claim.summary, claim.rootCause].filter((line) => line !== ''),
      },
      {
        title: 'Checks that do not hold',
        lines: bullets(failing.map(({ name, observed, error }) => `${name}: ${error ?? observed ?? ''}`)),
      },
      show,
    ];
  }
  const proofs = (status?.verification ?? []).map(
    ({ name, passing, observed }) =>
      `${name}: ${passing ? 'holds' : 'does not hold'}${observed === undefined ? '' : ` (${truncate(observed, MAX_EVIDENCE)})`}`,
  );
  return [
    { title: 'How it ended', lines: status?.message === undefined ? [] : [status.message] },
    {
      title: 'Cause, as the agent sees it',
      lines: claim === undefined || claim.rootCause === '' ? [] : [claim.rootCause],
    },
    { title: 'Done', lines: bullets(claim?.actions ?? []) },
    {
      title: `Checks, ${spec.verify.soakSeconds} s without a break`,
      lines: status?.soak?.startTime === undefined ? [] : bullets(proofs),
    },
    show,
  ];
}

function factsOf(incident: Incident): [string, string][] {
  const { status, spec } = incident;
  const facts: [string, string | undefined][] = [
    ['Incident', where(incident)],
    ['Severity', spec.severity],
    ['Reason', reasonOf(incident)],
    ['Attempts', String(status?.attempts?.length ?? 0)],
    ['Took', tookOf(incident)],
    ['Cost', status?.usage === undefined ? undefined : `$${(status.usage.costMilliUSD / 1000).toFixed(3)}`],
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
}

/** From the first attempt, or where there was none from the Incident itself, to the end. */
function tookOf(incident: Incident): string | undefined {
  const { status, metadata } = incident;
  const start = status?.startTime ?? metadata.creationTimestamp;
  if (start === undefined || status?.finishTime === undefined) return undefined;
  const seconds = Math.max(0, Math.round((Date.parse(status.finishTime) - Date.parse(start)) / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const where = ({ metadata }: Incident) => `${metadata.namespace}/${metadata.name}`;
const reasonOf = ({ status }: Incident) =>
  findCondition(status?.conditions, CONDITIONS.Succeeded)?.reason ??
  findCondition(status?.conditions, CONDITIONS.Finished)?.reason;
const bullets = (lines: readonly string[]) => lines.map((line) => `• ${line}`);

/** Slack cuts an attachment itself, but in the middle of a word and without a sign. In characters. */
const MAX_TEXT = 7000;
const MAX_EVIDENCE = 200;
const MAX_LINE = 1500;

/** Texts of agents and alarms are shown, not obeyed: no links in disguise, and nobody is called by @channel. */
function quiet(text: string): string {
  return truncate(text, MAX_LINE)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/@(?=\w)/g, '@\u200b');
}
