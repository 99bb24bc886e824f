// Renders all details of an Incident for people.

import { CONDITIONS, type Incident, listTargetNamespaces } from '../../api/incident.ts';
import { countedTokens } from '../../api/incident-status.ts';
import type { Condition } from '../../api/meta.ts';
import { withoutControls } from '../../audit/controls.ts';
import { age, clock, cost, count, dateTime } from '../format.ts';
import type { Colors } from '../output.ts';
import { table, wrap } from '../table.ts';
import { alarmLines, notificationLines } from './alarm.ts';
import { entriesText } from './entry.ts';
import { changeLines, handoverLines } from './handover.ts';

const LABEL_WIDTH = 14;

/**
 * All details of one Incident. Lines have at most `width` columns wherever their text can be
 * wrapped.
 */
export function renderIncident(incident: Incident, now: Date, colors: Colors, width: number): string[] {
  const { metadata, spec, status } = incident;
  const lines: string[] = [];
  const field = (label: string, text: string | undefined) => {
    if (text === undefined || text === '') return;
    const [first = '', ...rest] = wrap(withoutControls(text), Math.max(20, width - LABEL_WIDTH));
    lines.push(`${`${label}:`.padEnd(LABEL_WIDTH)}${first}`, ...rest.map((line) => ' '.repeat(LABEL_WIDTH) + line));
  };
  const section = (title: string, content: readonly string[]) => {
    if (content.length > 0) lines.push('', colors.bold(title), ...content.map((line) => `  ${line}`));
  };
  const tableLines = (header: string[], rows: string[][]) =>
    rows.length === 0 ? [] : table(header, rows, { headers: true, width: width - 2 });

  field('Incident', `${metadata.namespace ?? ''}/${metadata.name}`);
  field('Summary', spec.summary);
  field('Severity', spec.severity);
  field('Phase', status?.phase ?? 'Pending');
  field('Message', status?.message);
  field('Targets', listTargetNamespaces(incident).join(', '));
  field('Class', spec.agentClassName);
  field('Session', metadata.uid);
  field('Created', `${dateTime(metadata.creationTimestamp)} (${age(metadata.creationTimestamp, now)} ago)`);
  field('Started', dateTime(status?.startTime));
  field('Finished', dateTime(status?.finishTime));
  field('Description', spec.description);

  section('Hand-over', handoverLines(incident, width - 2));
  section('Alarm', alarmLines(incident, now, width - 2));
  section(
    'Conditions',
    tableLines(
      ['TYPE', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'],
      inOrder(status?.conditions ?? []).map((condition) => [
        condition.type,
        condition.status,
        condition.reason,
        age(condition.lastTransitionTime, now),
        withoutControls(condition.message),
      ]),
    ),
  );
  section('Attempts', attemptLines(incident, width - 2));
  section('Claim (by the agent)', claimLines(incident, width - 2));
  section('Checks', checkLines(incident, now, colors, width - 2));
  section('Changes (seen by the gateway)', changeLines(incident, width - 2));
  section(
    'Usage',
    usageLines(incident).flatMap((line) => wrap(line, width - 2)),
  );
  section('Notifications', notificationLines(incident, width - 2));
  section('Audit', auditLines(incident, colors));
  return lines;
}

/** Sorts conditions by when they become true in the lifecycle of an Incident; unknown ones last. */
function inOrder(conditions: readonly Condition[]): Condition[] {
  const order: string[] = Object.values(CONDITIONS);
  const place = ({ type }: Condition) => (order.includes(type) ? order.indexOf(type) : order.length);
  return [...conditions].sort((a, b) => place(a) - place(b));
}

function attemptLines({ status }: Incident, width: number): string[] {
  return (status?.attempts ?? []).flatMap((attempt) => {
    const until = attempt.endTime === undefined ? 'now' : clock(attempt.endTime);
    const message = attempt.message ? `: ${withoutControls(attempt.message)}` : '';
    return [
      `${attempt.number}  ${clock(attempt.startTime)} to ${until}, model ${attempt.class.model}, pod ${attempt.podName}`,
      ...wrap(`${attempt.reason ?? 'running'}${message}`, width - 3).map((line) => `   ${line}`),
    ];
  });
}

function claimLines({ status }: Incident, width: number): string[] {
  const claim = status?.claim;
  if (claim === undefined) return [];
  const text = (prefix: string, value: string) =>
    value === '' ? [] : wrap(withoutControls(`${prefix}${value}`), width);
  return [
    `${claim.outcome}, by attempt ${claim.attempt}, at ${dateTime(claim.time)}`,
    ...text('', claim.summary),
    ...text('Root cause: ', claim.rootCause),
    ...claim.actions.flatMap((action) => text('- ', action)),
  ];
}

function checkLines({ spec, status }: Incident, now: Date, { green, red }: Colors, width: number): string[] {
  const results = status?.verification ?? [];
  // The results include oplab's own check `baseline`, which the author did not write.
  const names = new Set([...spec.verify.checks, ...results].map(({ name }) => name));
  const lines = [...names].flatMap((name) => {
    const result = results.find((candidate) => candidate.name === name);
    if (result === undefined) return [`? ${name}: not checked yet`];
    const held = result.passing
      ? `holds since ${age(result.passingSince ?? result.observedTime, now)}`
      : 'does not hold';
    const mark = result.passing ? green('✓') : red('✗');
    const detail = (label: string, value: string | undefined) =>
      value === undefined || value === ''
        ? []
        : wrap(withoutControls(`${label}: ${value}`), width - 4).map((line) => `    ${line}`);
    return [
      `${mark} ${name}: ${held}`,
      ...detail('observed', result.observed),
      ...detail('error', result.error),
      ...detail('before', result.baseline),
    ];
  });
  const soak = status?.soak;
  const restarts = soak === undefined || soak.restarts === 0 ? '' : `, restarted ${soak.restarts} times`;
  const since = soak?.startTime === undefined ? '' : `, running since ${dateTime(soak.startTime)}`;
  return [...lines, `all must hold for ${spec.verify.soakSeconds} s without interruption${since}${restarts}`];
}

function usageLines({ status }: Incident): string[] {
  const { usage, limits } = status ?? {};
  if (usage === undefined) return [];
  const of = (limit: string | undefined) => (limit === undefined ? '' : ` of ${limit}`);
  return [
    `turns ${usage.turns}${of(limits && String(limits.maxTurns))}, model calls ${usage.modelCalls}, cost ${cost(usage.costMilliUSD)}${of(limits && cost(limits.maxCostMilliUSD))}`,
    `tokens ${count(countedTokens(usage))}${of(limits && count(limits.maxTokens))}: input ${count(usage.inputTokens)}, cache write ${count(usage.cacheWriteTokens)}, output ${count(usage.outputTokens)}; cache read ${count(usage.cacheReadTokens)}`,
    ...(usage.agentRestarts === undefined ? [] : [`agent restarts ${usage.agentRestarts}`]),
    ...(usage.limitReached === undefined ? [] : [`limit reached: ${usage.limitReached}`]),
  ];
}

function auditLines({ status }: Incident, { dim }: Colors): string[] {
  const audit = status?.audit;
  if (audit === undefined) return [];
  const head = audit.sealedHeadHash ?? audit.finalHeadHash ?? audit.headHash ?? 'none';
  const state = audit.sealedHeadHash === undefined ? 'not sealed yet' : 'sealed';
  return [
    `${entriesText(audit.entries ?? 0)}, ${state}, head ${head}`,
    dim('the last entries follow; to show all: oplab audit show'),
  ];
}

/** The tail of the trail in the Incident's status, one line per entry. */
export function tailLines(incident: Incident, entries: number, width: number): string[] {
  const tail = (incident.status?.audit?.tail ?? []).slice(-entries);
  const rows = tail.map((entry) => [
    String(entry.seq),
    clock(entry.time),
    entry.writer ?? '',
    entry.tool === undefined ? entry.kind : `${entry.kind} ${entry.tool}`,
    withoutControls(entry.text),
  ]);
  return rows.length === 0 ? [] : table(['SEQ', 'TIME', 'WRITER', 'KIND', 'TEXT'], rows, { headers: true, width });
}
