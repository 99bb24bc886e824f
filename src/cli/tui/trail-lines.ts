// Renders the trail for a narrow pane: reasoning, commands, output, results and writes with times.

import type { TailEntry } from '../../api/incident-status.ts';
import { withVisibleEscapes } from '../../audit/controls.ts';
import type { Entry } from '../../audit/entry.ts';
import { callParams, claimParams, intentParams, resultParams } from '../../audit/entry-params.ts';
import { entryText } from '../../audit/excerpt.ts';
import { clock, count, duration } from '../format.ts';
import { chopped, folded, type Line, type Span, span, styled, type Tone } from './styled-line.ts';
import type { LiveText, Trail } from './trail.ts';

/** The number of output lines kept below a command once it has its result. */
const KEPT_LINES = 8;
const INDENT = '  ';

/** Entries are immutable, so their lines are cached for one width. */
const cache = new WeakMap<Entry, { width: number; lines: readonly Line[] }>();

/** The whole trail, oldest first. */
export function trailLines(trail: Trail, width: number, now: Date): Line[] {
  const lines: Line[] = [];
  if (trail.earlier > 0) {
    lines.push(styled(`${count(trail.earlier)} earlier entries: oplab audit show`, 'dim'));
  }
  let attempt = 0;
  for (const entry of trail.entries) {
    if (entry.attempt > attempt) {
      attempt = entry.attempt;
      lines.push(styled(`Attempt ${attempt}`, 'bold'));
    }
    let known = cache.get(entry);
    if (known === undefined || known.width !== width) {
      known = { width, lines: entryLines(entry, width) };
      cache.set(entry, known);
    }
    lines.push(...known.lines);
    if (entry.kind === 'tool_call' && entry.writer === 'agent') lines.push(...runningLines(trail, entry, width, now));
  }
  return lines;
}

/** The tail of the trail in the Incident's status. */
export function statusTailLines(tail: readonly TailEntry[], width: number): Line[] {
  if (tail.length === 0) return [];
  return [
    styled("The end of the trail, from the Incident's status:", 'dim'),
    ...tail.flatMap(({ time, kind, writer, text }): Line[] => {
      const by = writer === undefined ? '' : ` (${writer})`;
      const [first = '', ...rest] = folded(`${kind.replace('_', ' ')}${by}: ${text}`, width - 9);
      return [[span(`${clock(time)} `, 'dim'), span(first)], ...rest.map((line) => styled(INDENT + line))];
    }),
  ];
}

function headed(time: string, head: Span, text: readonly string[], tone: Tone): Line[] {
  const [first, ...rest] = text;
  const lead: Line = [span(`${clock(time)} `, 'dim'), head];
  const top: Line = first === undefined ? lead : [...lead, span(first, tone)];
  return [top, ...rest.map((line) => styled(INDENT + line, tone))];
}

/** Text after a short head: the first line on the same line, the rest indented below. */
function beside(entry: Entry, head: string, headTone: Tone, text: string, tone: Tone, width: number): Line[] {
  if (text === '') return headed(entry.time, span(head, headTone), [], tone);
  const lead = clock(entry.time).length + 1 + head.length + 1;
  // If little room is left beside the head, the text starts on the next line.
  if (width - lead < 20) {
    return headed(entry.time, span(head, headTone), ['', ...folded(text, width - INDENT.length)], tone);
  }
  const [first = ''] = folded(text, width - lead);
  const rest = text.replace(/\s+/g, ' ').trim().slice(first.replace(/\s+/g, ' ').trim().length).trim();
  const below = rest === '' ? [] : folded(rest, width - INDENT.length);
  return headed(entry.time, span(`${head} `, headTone), [first, ...below], tone);
}

/** The lines of one entry; none for model calls, which matter only for accounting. */
function entryLines(entry: Entry, width: number): Line[] {
  const below = (text: string, tone: Tone): Line[] =>
    text === '' ? [] : folded(text, width - INDENT.length).map((line) => styled(INDENT + line, tone));
  switch (entry.kind) {
    case 'reasoning':
      return beside(entry, 'thinks', 'bold', entry.content, 'plain', width);
    case 'tool_call': {
      const call = callParams.safeParse(entry.params);
      if (!call.success) return [...claimLines(entry, below), ...below(entry.content, 'plain')];
      return [
        ...beside(entry, 'runs', 'bold', entry.content, 'dim', width),
        ...withVisibleEscapes(call.data.command)
          .replace(/\n$/, '')
          .split('\n')
          .flatMap((line, row) =>
            chopped(row === 0 ? `$ ${line}` : `  ${line}`, width - INDENT.length).map((text) =>
              styled(INDENT + text, 'call'),
            ),
          ),
      ];
    }
    case 'tool_result': {
      const bad = entry.exitCode !== null && entry.exitCode !== 0;
      return beside(entry, ending(entry), bad ? 'bad' : 'good', entry.content, 'plain', width);
    }
    case 'kube_intent':
      return beside(entry, 'writes', intentTone(entry), entryText(entry), intentTone(entry), width);
    case 'docker_intent':
      return beside(entry, 'docker', intentTone(entry), entryText(entry), intentTone(entry), width);
    case 'kube_before':
    case 'kube_outcome':
    case 'docker_outcome':
      return beside(entry, 'response', 'dim', entryText(entry), 'dim', width);
    case 'lifecycle':
      return beside(entry, '·', 'dim', entryText(entry), entry.writer === 'gateway' ? 'bold' : 'dim', width);
    case 'model_call':
      return [];
  }
}

/** A write that no command explains is bad, any other one worth a look. */
function intentTone(entry: Entry): Tone {
  return intentParams.safeParse(entry.params).data?.unexplained ? 'bad' : 'warn';
}

function claimLines(entry: Entry, below: (text: string, tone: Tone) => Line[]): Line[] {
  const claim = claimParams.safeParse(entry.params);
  if (!claim.success) return headed(entry.time, span(`calls ${entry.tool ?? ''}`, 'bold'), [], 'plain');
  const { outcome, rootCause, actions } = claim.data;
  return [
    ...headed(entry.time, span(`claims: ${outcome}`, 'bold'), [], 'plain'),
    ...below(rootCause === '' ? '' : `root cause: ${rootCause}`, 'plain'),
    ...actions.flatMap((action) => below(`- ${action}`, 'plain')),
  ];
}

function ending(entry: Entry): string {
  const parts: string[] = [entry.exitCode === null ? 'result' : `exit ${entry.exitCode}`];
  if (entry.durationMs !== null) parts.push(duration(entry.durationMs));
  const params = resultParams.safeParse(entry.params);
  if (params.success) {
    const { timedOut, indeterminate, signal } = params.data;
    if (timedOut) parts.push('timed out');
    else if (signal !== undefined && signal !== null) parts.push(signal);
    if (indeterminate) parts.push('indeterminate');
  }
  return parts.join(', ');
}

/** The output of a command and, while it runs, for how long it has been running. */
function runningLines(trail: Trail, call: Entry, width: number, now: Date): Line[] {
  const live = trail.live.get(call.clientKey);
  const over = trail.sealed || trail.answered.has(call.clientKey) || !isLastCall(trail, call);
  const lines = live === undefined ? [] : outputLines(live, width, over);
  if (over || call.tool === 'conclude') return lines;
  const seconds = Math.max(0, Math.floor((now.getTime() - Date.parse(call.time)) / 1000));
  return [...lines, styled(`${INDENT}running, ${duration(seconds * 1000).replace(/\.0 s$| ms$/, ' s')}`, 'warn')];
}

/** False if a later attempt shows that the call is over, even if its result is missing. */
function isLastCall(trail: Trail, call: Entry): boolean {
  const last = trail.entries.at(-1);
  return last !== undefined && last.attempt === call.attempt;
}

function outputLines(live: LiveText, width: number, over: boolean): Line[] {
  const all = live.partial === '' ? live.lines : [...live.lines, live.partial];
  const kept = over ? all.slice(-KEPT_LINES) : all;
  const hidden = live.earlier + all.length - kept.length;
  const shown = kept.flatMap((line) => chopped(line, width - INDENT.length - 2));
  const note =
    hidden === 0 ? [] : [styled(`${INDENT}│ ${count(hidden)} earlier lines: oplab audit show --full`, 'dim')];
  return [...note, ...shown.map((line): Line => [span(`${INDENT}│ `, 'dim'), span(line)])];
}
