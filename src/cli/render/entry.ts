// Renders one entry of the trail for people: a summary line, and below it the entry's content.

import * as z from 'zod';
import { withoutControls, withVisibleEscapes } from '../../audit/controls.ts';
import type { Entry } from '../../audit/entry.ts';
import { callParams, claimParams, intentParams, resultParams } from '../../audit/entry-params.ts';
import { entryText } from '../../audit/excerpt.ts';
import { hiddenBytes, readOriginal } from '../../audit/original.ts';
import { clock, count, duration } from '../format.ts';
import type { Colors } from '../output.ts';
import { wrap } from '../table.ts';

export interface EntryRendering {
  readonly colors: Colors;
  readonly width: number;
  /** The full text behind the entry's digest; null if it was pruned, undefined if not requested. */
  readonly blob?: string | null | undefined;
}

const INDENT = '      ';

const dryRunParams = z.looseObject({ dryRun: z.unknown().optional() });

/** The lines of one entry; the first line is its summary. */
export function renderEntry(entry: Entry, options: EntryRendering): string[] {
  const { colors, width } = options;
  const attempt = entry.attempt > 0 ? `${entry.writer}#${entry.attempt}` : entry.writer;
  const lead = `${String(entry.seq).padStart(4)}  ${colors.dim(clock(entry.time))}  ${colors.dim(attempt.padEnd(9))} `;
  return [
    lead + title(entry, colors),
    ...body(entry, colors, width),
    ...blobLines(entry, options),
    ...hiddenLines(entry, colors),
  ];
}

function title(entry: Entry, { bold, cyan, green, red, yellow }: Colors): string {
  const tool = entry.tool === null ? '' : ` ${withoutControls(entry.tool)}`;
  switch (entry.kind) {
    case 'reasoning':
      return bold('reasoning');
    case 'tool_call':
      return bold(cyan(`tool_call${tool}`));
    case 'tool_result': {
      const failed = entry.exitCode !== null && entry.exitCode !== 0;
      const result = ['tool_result', tool.trim(), ending(entry)].filter((part) => part !== '').join(' ');
      return failed ? red(result) : green(result);
    }
    case 'kube_intent':
    case 'docker_intent': {
      const { commandSeq, unexplained } = intentParams.safeParse(entry.params).data ?? {};
      if (unexplained) return red(`${entry.kind} (unexplained)`);
      return yellow(commandSeq === undefined ? entry.kind : `${entry.kind} (command ${commandSeq})`);
    }
    case 'lifecycle':
      return bold('lifecycle');
    default:
      return entry.kind;
  }
}

/** How a command ended, in parentheses. */
function ending(entry: Entry): string {
  const parts: string[] = [];
  if (entry.exitCode !== null) parts.push(`exit ${entry.exitCode}`);
  if (entry.durationMs !== null) parts.push(duration(entry.durationMs));
  const params = resultParams.safeParse(entry.params);
  if (params.success) {
    const { timedOut, indeterminate, truncated, signal, killedProcesses = 0, leftBehind = [] } = params.data;
    const { hiddenCharacters = 0 } = params.data;
    if (timedOut) parts.push('timed out');
    else if (signal !== undefined && signal !== null) parts.push(withoutControls(signal));
    if (indeterminate) parts.push('indeterminate');
    if (truncated) parts.push('output truncated');
    if (hiddenCharacters > 0) parts.push(`${count(hiddenCharacters)} overwritten characters not shown`);
    if (leftBehind.length > 0) parts.push(`left behind: ${withoutControls(leftBehind.join('; '))}`);
    else if (killedProcesses > 0) parts.push(`${killedProcesses} leftover processes killed`);
  }
  return parts.length === 0 ? '' : `(${parts.join(', ')})`;
}

function body(entry: Entry, { bold, dim }: Colors, width: number): string[] {
  const prose = (text: string) => indented(wrap(withoutControls(text), width - INDENT.length));
  switch (entry.kind) {
    case 'tool_call': {
      const reason = entry.content === '' ? [] : prose(entry.content).map((line) => dim(line));
      const call = callParams.safeParse(entry.params);
      if (call.success) {
        // Commands are not wrapped, so that they can be copied.
        const lines = withoutControls(withVisibleEscapes(call.data.command)).split('\n');
        return [...reason, ...lines.map((line, index) => `${INDENT}${bold(index === 0 ? `$ ${line}` : `  ${line}`)}`)];
      }
      const claim = claimParams.safeParse(entry.params);
      if (!claim.success) return [...reason, ...prose(JSON.stringify(entry.params))];
      const { outcome, rootCause, actions } = claim.data;
      return [
        ...prose(`claims: ${outcome}`),
        ...reason,
        ...(rootCause === '' ? [] : prose(`root cause: ${rootCause}`)),
        ...actions.flatMap((action) => prose(`- ${action}`)),
      ];
    }
    case 'model_call':
      return entry.content === '' ? [] : prose(entry.content).map((line) => dim(line));
    case 'kube_intent':
    case 'kube_outcome': {
      const params = dryRunParams.safeParse(entry.params);
      const dryRun = params.success && params.data.dryRun !== undefined && params.data.dryRun !== false;
      const took = entry.durationMs === null ? '' : ` (${duration(entry.durationMs)})`;
      return prose(`${entryText(entry)}${took}${dryRun ? ' [dry run]' : ''}`);
    }
    default: {
      const text = entryText(entry);
      return text === '' ? [] : prose(text);
    }
  }
}

function blobLines(entry: Entry, { blob, colors }: EntryRendering): string[] {
  if (blob === undefined || entry.blobDigest === null) return [];
  if (blob === null) return [`${INDENT}${colors.dim('(the full text was pruned; its digest is in the chain)')}`];
  const lines = withoutControls(blob).replace(/\n$/, '').split('\n');
  return lines.map((line) => `${INDENT}${colors.dim('|')} ${line}`);
}

/** What the entry does not show, and why. */
function hiddenLines(entry: Entry, { dim }: Colors): string[] {
  const original = readOriginal(entry.params);
  if (original === undefined) return [];
  const bytes = hiddenBytes(original);
  const why = {
    'session-limit': 'the session has used its share of the log',
    'disk-full': 'the volume was full',
    'time-limit': 'its redaction took too long',
  };
  const omitted = original.blob?.omitted;
  if (omitted !== undefined) {
    return [
      `${INDENT}${dim(`(the full text of ${count(original.blob?.bytes ?? 0)} bytes is not stored: ${why[omitted]})`)}`,
    ];
  }
  return bytes === 0 ? [] : [`${INDENT}${dim(`(${count(bytes)} bytes were redacted or shortened)`)}`];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => (line === '' ? '' : INDENT + line));
}

/** A number of entries with thousands separators: "1,031 entries". */
export function entriesText(entries: number): string {
  return `${count(entries)} ${entries === 1 ? 'entry' : 'entries'}`;
}
