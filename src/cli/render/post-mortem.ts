// Generates a Markdown post-mortem from a session's record alone, with sections for people to fill
// in.

import { renderCommand } from '../../api/command.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../../api/incident.ts';
import type { HandoverStep } from '../../api/incident-status.ts';
import { findCondition } from '../../api/meta.ts';
import { withoutControls, withVisibleEscapes } from '../../audit/controls.ts';
import type { Entry } from '../../audit/entry.ts';
import { callParams, costParams, resultParams, summaryParams } from '../../audit/entry-params.ts';
import { entryText } from '../../audit/excerpt.ts';
import type { SessionExport } from '../../audit/export.ts';
import type { SessionReport } from '../../audit/verify.ts';
import { clock, cost, count, dateTime, duration } from '../format.ts';

/** The complete document, with a final line break. */
export function postMortem(file: SessionExport, report: SessionReport): string {
  const parsed = incidentSchema.safeParse(file.incident);
  const incident = parsed.success ? parsed.data : undefined;
  const { session } = file;
  return `${[
    `# Post-mortem: ${text(session.incident.namespace)}/${text(session.incident.name)}`,
    `> ${text(session.summary)}`,
    facts(file, incident),
    ...section('What was wrong', wrong(file, incident)),
    ...section('Was it repaired?', repairResult(incident, session.outcome)),
    ...section('What was changed', changes(file.entries)),
    ...section('Commands', commands(file.entries)),
    ...section('Timeline', timeline(file.entries)),
    ...section('Hand-over', handover(incident)),
    ...section('The record', record(file, report)),
    '## To be completed by people\n\n- Impact on users:\n- Why it was possible:\n- How a recurrence will be prevented, by whom, by when:',
  ].join('\n\n')}\n`;
}

/** Untrusted text on one line, escaped so that Markdown shows it literally. */
function text(value: string): string {
  return withoutControls(value)
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*_[\]<>|#~!]/g, '\\$&');
}

/** One more than the longest run of backticks in the text. */
function ticksBeyond(line: string): number {
  return Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length)) + 1;
}

/** Code on one line, for use in a table or a sentence. */
function code(value: string): string {
  const line = withoutControls(value)
    .replace(/\s*\n\s*/g, ' ⏎ ')
    .trim();
  if (line === '') return '';
  const ticks = '`'.repeat(ticksBeyond(line));
  const pad = line.startsWith('`') || line.endsWith('`') ? ' ' : '';
  return `${ticks}${pad}${line.replaceAll('|', '\\|')}${pad}${ticks}`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`## ${title}`, lines.join('\n')];
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
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
    ['Duration', span(incident?.metadata.creationTimestamp ?? session.openedAt, status?.finishTime ?? session.lastAt)],
    ['Attempts', String(status?.attempts?.length ?? Math.max(0, ...entries.map(({ attempt }) => attempt)))],
    ['Model', text(models)],
    ['Cost', cost(micro / 1000)],
    ['Session', code(session.id)],
  ];
  return markdownTable(
    ['', ''],
    rows.filter(([, value]) => value !== ''),
  ).join('\n');
}

function wrong(file: SessionExport, incident: Incident | undefined): string[] {
  const claim = incident?.status?.claim;
  const lines = [text(incident?.spec.summary ?? file.session.summary)];
  if (incident?.spec.description !== undefined) lines.push('', text(incident.spec.description));
  if (claim !== undefined && claim.rootCause !== '')
    lines.push('', `**Root cause, according to the agent:** ${text(claim.rootCause)}`);
  return lines;
}

function repairResult(incident: Incident | undefined, outcome: string | null): string[] {
  const status = incident?.status;
  if (incident === undefined || status === undefined) {
    return [`The file does not contain the Incident. Outcome in the record: ${text(outcome ?? 'none yet')}.`];
  }
  const { claim, verification = [], soak } = status;
  const verified = findCondition(status.conditions, CONDITIONS.Verified);
  const claimed =
    claim === undefined ? 'The agent made no claim.' : `The agent claimed **${claim.outcome}**: ${text(claim.summary)}`;
  const checked =
    verified?.status === 'True'
      ? `The checks held for ${incident.spec.verify.soakSeconds} s without interruption: **verified**.`
      : `**Not verified**${verified === undefined ? '' : `: ${text(verified.message || verified.reason)}`}.`;
  const restarts = soak === undefined || soak.restarts === 0 ? '' : ` The soak was restarted ${soak.restarts} times.`;
  return [
    claimed,
    '',
    checked + restarts,
    '',
    ...markdownTable(
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
  if (intents.length === 0) return ['No writes passed the gateway.'];
  return markdownTable(
    ['row', 'time', 'write', 'response'],
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
  const summaries = new Map(
    entries.flatMap((entry) => {
      const of = entry.kind === 'lifecycle' ? summaryParams.safeParse(entry.params).data?.result : undefined;
      return of === undefined ? [] : [[of, entry.content] as const];
    }),
  );
  return markdownTable(
    ['row', 'time', 'why', 'command', 'exit', 'result'],
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
          code(withVisibleEscapes(call.data.command)),
          result === undefined ? '?' : `${result.exitCode ?? '?'}${took}`,
          text(result === undefined ? 'no result on record' : (summaries.get(result.seq) ?? result.content)),
        ],
      ];
    }),
  );
}

/** Lifecycle, reasoning and claims. Commands and writes have separate tables. */
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
    ...(handed.nextSteps.length === 0 ? [] : ['', '**Next steps**', '', ...handed.nextSteps.flatMap(stepLines)]),
  ];
}

/** The command is a block of its own, since a span would lose some of its blanks. */
function stepLines({ what, command = [] }: HandoverStep): string[] {
  const line = renderCommand(command);
  if (line === undefined) return [`- ${text(what)}`];
  const fence = '`'.repeat(Math.max(3, ticksBeyond(line)));
  return [`- ${text(what)}:`, '', `  ${fence}sh`, `  ${line}`, `  ${fence}`, ''];
}

function record(file: SessionExport, report: SessionReport): string[] {
  const { entries, headHash, sealed } = file.session;
  const sound = report.findings.length === 0;
  return [
    `${count(entries)} entries, ${sealed ? 'sealed' : '**not sealed**: the session was still open'}, head \`${headHash}\`, exported ${dateTime(file.exportedAt)}.`,
    '',
    sound ? 'The hash chain is intact.' : '**The record failed verification:**',
    ...(sound ? [] : ['', ...report.findings.map((finding) => `- ${text(finding.message)}`)]),
  ];
}
