// A post-mortem in Markdown, made from a session's record and nothing else: facts, verdicts, times, and room for people.

import { CONDITIONS, type Incident, incident as incidentSchema } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import { withoutControls } from '../../audit/controls.ts';
import type { Entry } from '../../audit/entry.ts';
import { callParams, costParams, resultParams } from '../../audit/entry-params.ts';
import { entryText } from '../../audit/excerpt.ts';
import type { SessionExport } from '../../audit/export.ts';
import type { SessionReport } from '../../audit/verify.ts';
import { clock, cost, count, dateTime, duration } from '../format.ts';

/** The document; ends with a line break. */
export function postMortem(file: SessionExport, report: SessionReport): string {
  const parsed = incidentSchema.safeParse(file.incident);
  const incident = parsed.success ? parsed.data : undefined;
  const { session } = file;
  return `${[
    `# Post-mortem: ${text(session.incident.namespace)}/${text(session.incident.name)}`,
    `> ${text(session.summary)}`,
    facts(file, incident),
    ...section('What was wrong', wrong(file, incident)),
    ...section('Was it repaired?', verdict(incident, session.outcome)),
    ...section('What was changed', changes(file.entries)),
    ...section('What was run', commands(file.entries)),
    ...section('Time line', timeline(file.entries)),
    ...section('For whoever takes over', handover(incident)),
    ...section('The record', record(file, report)),
    '## For people to write\n\n- Impact on users:\n- Why it was possible:\n- What will keep it from happening again, by whom, by when:',
  ].join('\n\n')}\n`;
}

/** Text of others as Markdown shows it and does not obey it, on one line. */
function text(value: string): string {
  return withoutControls(value)
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*_[\]<>|#~!]/g, '\\$&');
}

/** Code in a table or a sentence, on one line. */
function code(value: string): string {
  const line = withoutControls(value)
    .replace(/\s*\n\s*/g, ' ⏎ ')
    .trim();
  if (line === '') return '';
  const ticks = '`'.repeat(Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length)) + 1);
  const pad = line.startsWith('`') || line.endsWith('`') ? ' ' : '';
  return `${ticks}${pad}${line.replaceAll('|', '\\|')}${pad}${ticks}`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, lines.join('\n')];
}

function tableOf(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)];
}

function span(from: string | undefined, to: string | undefined): string {
  const ms = Date.parse(to ?? '') - Date.parse(from ?? '');
  return Number.isNaN(ms) ? '' : duration(Math.max(0, ms));
}

function facts(file: SessionExport, incident: Incident | undefined): string {
  const { session, entries } = file;
  const status = incident?.status;
  const alarm = status?.alarm;
  const micro = entries.reduce((sum, { kind, params }) => {
    const call = kind === 'model_call' ? costParams.safeParse(params) : undefined;
    return sum + (call?.success ? call.data.costMicroUSD : 0);
  }, 0);
  const verified = findCondition(status?.conditions, CONDITIONS.Verified);
  const models = [...new Set(status?.attempts?.map((attempt) => attempt.class.model))].join(', ');
  const rows: [string, string][] = [
    ['Outcome', text(session.outcome ?? 'none yet')],
    ['Severity', incident?.spec.severity ?? ''],
    [
      'Opened by',
      incident?.spec.source === undefined ? '' : text(`${incident.spec.source.kind} ${incident.spec.source.name}`),
    ],
    [
      'Alarm',
      alarm === undefined
        ? ''
        : `seen ${count(alarm.occurrences)} times, ${dateTime(alarm.firstSeen)} to ${dateTime(alarm.lastSeen)}`,
    ],
    ['Opened', dateTime(incident?.metadata.creationTimestamp ?? session.openedAt)],
    ['First attempt after', span(incident?.metadata.creationTimestamp, status?.startTime)],
    ['Claimed after', span(incident?.metadata.creationTimestamp, status?.claim?.time)],
    [
      'Verified after',
      verified?.status === 'True' ? span(incident?.metadata.creationTimestamp, verified.lastTransitionTime) : '',
    ],
    ['Took', span(incident?.metadata.creationTimestamp ?? session.openedAt, status?.finishTime ?? session.lastAt)],
    ['Attempts', String(status?.attempts?.length ?? Math.max(0, ...entries.map(({ attempt }) => attempt)))],
    ['Model', text(models)],
    ['Cost', cost(micro / 1000)],
    ['Session', `\`${session.id}\``],
  ];
  return tableOf(
    ['', ''],
    rows.filter(([, value]) => value !== ''),
  ).join('\n');
}

function wrong(file: SessionExport, incident: Incident | undefined): string[] {
  const claim = incident?.status?.claim;
  const lines = [text(incident?.spec.summary ?? file.session.summary)];
  if (incident?.spec.description !== undefined) lines.push('', text(incident.spec.description));
  if (claim !== undefined && claim.rootCause !== '')
    lines.push('', `**Root cause, as the agent says:** ${text(claim.rootCause)}`);
  return lines;
}

function verdict(incident: Incident | undefined, outcome: string | null): string[] {
  const status = incident?.status;
  if (incident === undefined || status === undefined) {
    return [`The Incident is not in the file; the record says: ${text(outcome ?? 'no outcome yet')}.`];
  }
  const { claim, verification = [], soak } = status;
  const verified = findCondition(status.conditions, CONDITIONS.Verified);
  const claimed =
    claim === undefined ? 'The agent made no claim.' : `The agent claimed **${claim.outcome}**: ${text(claim.summary)}`;
  const judged =
    verified?.status === 'True'
      ? `The checks held for ${incident.spec.verify.soakSeconds} s without a break: **verified**.`
      : `**Not verified**${verified === undefined ? '' : `: ${text(verified.message || verified.reason)}`}.`;
  const restarts =
    soak === undefined || soak.restarts === 0 ? '' : ` The soak had to start again ${soak.restarts} times.`;
  return [
    claimed,
    '',
    judged + restarts,
    '',
    ...tableOf(
      ['check', 'holds', 'before', 'at the end'],
      verification.map((result) => [
        text(result.name),
        result.passing ? 'yes' : '**no**',
        code(result.baseline ?? ''),
        code(result.error ?? result.observed ?? ''),
      ]),
    ),
  ];
}

const isIntent = ({ kind }: Entry) => kind === 'kube_intent' || kind === 'docker_intent';

function changes(entries: readonly Entry[]): string[] {
  const intents = entries.filter(isIntent);
  if (intents.length === 0) return ['No write passed a door of the gateway.'];
  return tableOf(
    ['row', 'time', 'write', 'answer'],
    intents.map((intent) => {
      const outcome = entries.find(
        ({ seq, clientKey }) => seq > intent.seq && clientKey === `${intent.clientKey}:outcome`,
      );
      const answer =
        outcome === undefined
          ? '*not on record: indeterminate*'
          : code(entryText(outcome).replace(/^.*: (?=\d{3}\b)/, ''));
      return [String(intent.seq), clock(intent.time), code(entryText(intent)), answer];
    }),
  );
}

function commands(entries: readonly Entry[]): string[] {
  const results = new Map(
    entries.flatMap((entry) => {
      const call = entry.kind === 'tool_result' ? resultParams.safeParse(entry.params).data?.call : undefined;
      return call === undefined ? [] : [[`${entry.attempt} ${call}`, entry] as const];
    }),
  );
  return tableOf(
    ['row', 'time', 'why', 'command', 'exit', 'what came of it'],
    entries.flatMap((entry) => {
      const call = entry.kind === 'tool_call' ? callParams.safeParse(entry.params) : undefined;
      if (!call?.success) return [];
      const result = results.get(`${entry.attempt} ${entry.clientKey}`);
      const took =
        result?.durationMs === undefined || result.durationMs === null ? '' : ` in ${duration(result.durationMs)}`;
      return [
        [
          String(entry.seq),
          clock(entry.time),
          text(entry.content),
          code(call.data.command),
          result === undefined ? '?' : `${result.exitCode ?? '?'}${took}`,
          text(result?.content ?? 'no result on record'),
        ],
      ];
    }),
  );
}

/** What happened, without the single commands and writes, which have tables of their own. */
function timeline(entries: readonly Entry[]): string[] {
  return entries
    .filter(
      ({ kind, tool }) => kind === 'lifecycle' || kind === 'reasoning' || (kind === 'tool_call' && tool === 'conclude'),
    )
    .map((entry) => {
      const who = entry.attempt > 0 && entry.writer === 'agent' ? `agent, attempt ${entry.attempt}` : entry.writer;
      const what = entry.kind === 'tool_call' ? `claims: ${entry.content}` : entryText(entry);
      return `- \`${clock(entry.time)}\` ${who}: ${text(what)}`;
    });
}

function handover(incident: Incident | undefined): string[] {
  const handed = incident?.status?.handover;
  if (handed === undefined) return [];
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? [] : ['', `**${title}**`, '', ...items.map((item) => `- ${text(item)}`)];
  return [
    text(handed.summary),
    ...list('Tried', handed.attempts),
    ...list('Changed', handed.changes),
    ...list('Next steps', handed.nextSteps),
  ];
}

function record(file: SessionExport, report: SessionReport): string[] {
  const { entries, headHash, sealed } = file.session;
  const sound = report.findings.length === 0;
  return [
    `${count(entries)} entries, ${sealed ? 'sealed' : '**not sealed**: the session went on'}, head \`${headHash}\`, exported ${dateTime(file.exportedAt)}.`,
    '',
    sound ? 'The hash chain adds up.' : '**The record does not add up:**',
    ...(sound ? [] : ['', ...report.findings.map((finding) => `- ${text(finding.message)}`)]),
  ];
}
