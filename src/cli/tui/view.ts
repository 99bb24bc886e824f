// The screen of `oplab top`, made from its state: exactly as many lines as the terminal has rows, each exactly as wide.

import { type Incident, sessionOf } from '../../api/incident.ts';
import { age, clock, count, duration } from '../format.ts';
import { checkLines } from './check-pane.ts';
import { helpLines } from './help.ts';
import { monitorLines, patientLine } from './monitor-pane.ts';
import {
  isFinished,
  isWorkedOn,
  type Link,
  listed,
  type Metrics,
  type Pane,
  selectedIncident,
  shownName,
  type TopState,
} from './state.ts';
import {
  EMPTY,
  folded,
  inTone,
  inWidth,
  type Line,
  lineWidth,
  type Span,
  span,
  styled,
  type Tone,
} from './styled-line.ts';
import { trailLines } from './trail-lines.ts';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Screen {
  readonly lines: readonly Line[];
  readonly metrics: Metrics;
}

/** Below this nothing sensible fits. */
export const SMALLEST: Size = { columns: 30, rows: 8 };
/** Below this only the pane in focus is shown. */
const SPLIT: Size = { columns: 70, rows: 16 };

const NO_METRICS: Metrics = { trailLines: 0, trailHeight: 1, monitorLines: 0, monitorHeight: 1, incidentHeight: 1 };

/** A part of the screen with a title; `lines` may be more than fit. */
interface Box {
  readonly pane: Pane | undefined;
  readonly title: string;
  readonly lines: readonly Line[];
}

export function screen(state: TopState, size: Size): Screen {
  if (size.columns < SMALLEST.columns || size.rows < SMALLEST.rows) {
    const text = `too small: at least ${SMALLEST.columns}x${SMALLEST.rows} are needed`;
    return {
      lines: whole(
        folded(text, size.columns).map((line) => styled(line)),
        size,
      ),
      metrics: NO_METRICS,
    };
  }
  const head = [topLine(state, size.columns), ...chapterLines(state, size.columns)];
  const bodyRows = size.rows - head.length - 1;
  const body = state.help
    ? {
        lines: boxed({ pane: undefined, title: 'Help', lines: helpLines() }, state, size.columns, bodyRows),
        metrics: NO_METRICS,
      }
    : bodyOf(state, { columns: size.columns, rows: bodyRows });
  return { lines: whole([...head, ...body.lines, keyLine(state, size.columns)], size), metrics: body.metrics };
}

function whole(lines: readonly Line[], { columns, rows }: Size): Line[] {
  return Array.from({ length: rows }, (_, row) => inWidth(lines[row] ?? EMPTY, columns));
}

function bodyOf(state: TopState, size: Size): Screen {
  const single = size.columns < SPLIT.columns || size.rows < SPLIT.rows - 2;
  if (state.zoomed || single) return onePane(state, size);
  const monitors = state.monitors?.length ?? 0;
  const wanted = Math.max(3, monitors, selectedIncident(state)?.spec.verify.checks.length ?? 0) + 1;
  const lowerRows = Math.min(wanted + 1, Math.floor(size.rows * 0.36));
  const upperRows = size.rows - lowerRows;
  const left = Math.max(26, Math.min(46, Math.floor(size.columns * 0.38)));
  const right = size.columns - left - 1;
  const lowerLeft = Math.floor(size.columns / 2);
  const lowerRight = size.columns - lowerLeft - 1;

  const session = sessionBox(state, right, upperRows - 1);
  const list = incidentBox(state, left, upperRows - 1);
  const watch = monitorBox(state, lowerLeft, lowerRows - 1);
  const checks = checkBox(state, lowerRight);
  const upper = beside(boxed(list, state, left, upperRows), boxed(session.box, state, right, upperRows), '┬');
  const lower = beside(boxed(watch.box, state, lowerLeft, lowerRows), boxed(checks, state, lowerRight, lowerRows), '┬');
  return {
    lines: [...upper, ...lower],
    metrics: { ...session.metrics, ...watch.metrics, incidentHeight: upperRows - 1 },
  };
}

/** The pane in focus alone: on small screens, and when it is asked for. */
function onePane(state: TopState, { columns, rows }: Size): Screen {
  const session = sessionBox(state, columns, rows - 1);
  const watch = monitorBox(state, columns, rows - 1);
  const box = {
    incidents: incidentBox(state, columns, rows - 1),
    session: session.box,
    monitors: watch.box,
  }[state.focus];
  return {
    lines: boxed(box, state, columns, rows),
    metrics: { ...session.metrics, ...watch.metrics, incidentHeight: rows - 1 },
  };
}

/** Title rule and as many lines as fit. */
function boxed({ pane, title, lines }: Box, state: TopState, width: number, rows: number): Line[] {
  const focused = pane === state.focus;
  const room = Math.max(0, width - 5);
  const text = lineWidth(styled(title)) > room ? fitTitle(title, room) : title;
  const rule: Line = [
    span('─', 'dim'),
    focused ? span(`[${text}]`, 'bold') : span(` ${text} `, 'plain'),
    span('─'.repeat(Math.max(0, width)), 'dim'),
  ];
  const cut = ruled(rule, width);
  return [cut, ...Array.from({ length: Math.max(0, rows - 1) }, (_, row) => inWidth(lines[row] ?? EMPTY, width))];
}

function fitTitle(title: string, room: number): string {
  return inWidth(styled(title), room)
    .map(({ text }) => text)
    .join('')
    .trimEnd();
}

/** A rule that ends at the width without an ellipsis. */
function ruled(rule: Line, width: number): Line {
  const [first, title, dashes] = rule;
  if (first === undefined || title === undefined || dashes === undefined) return rule;
  const used = lineWidth([first, title]);
  return [first, title, span('─'.repeat(Math.max(0, width - used)), 'dim')];
}

function beside(left: readonly Line[], right: readonly Line[], joint: string): Line[] {
  return left.map((line, row) => [...line, span(row === 0 ? joint : '│', 'dim'), ...(right[row] ?? EMPTY)]);
}

function linkSpan(name: string, link: Link): Span {
  if (link === 'connected') return span(`${name} ok`, 'good');
  if (link === 'connecting') return span(`${name} …`, 'warn');
  return span(`${name} away`, 'bad');
}

/** How the gateway's stream stands, as far as one is open. */
export function gatewayLink({ trail }: TopState): Link {
  if (trail === undefined || (trail.entries.length === 0 && trail.waiting === undefined)) return 'connecting';
  if (trail.waiting === undefined || isUnopened(trail.waiting)) return 'connected';
  return { away: trail.waiting };
}

/** The gateway answers; it only has no such session yet. */
export function isUnopened(reason: string): boolean {
  return /is not in the log/.test(reason);
}

function topLine(state: TopState, width: number): Line {
  const open = state.incidents.filter((incident) => !isFinished(incident));
  const working = open.filter(isWorkedOn).length;
  const left: Line = [
    span('oplab top', 'bold'),
    span(` ${state.namespace ?? 'all namespaces'}  `),
    span(`${open.length} open, ${working} at work`, working > 0 ? 'warn' : 'plain'),
  ];
  const away = typeof state.cluster === 'object' ? state.cluster.away : undefined;
  const right: Line = [
    linkSpan('cluster', state.cluster),
    span('  '),
    ...(state.trail === undefined ? [] : [linkSpan('gateway', gatewayLink(state)), span('  ')]),
    span(clock(state.now.toISOString()), 'dim'),
  ];
  const gap = width - lineWidth(left) - lineWidth(right);
  if (gap >= 2) return [...left, span(' '.repeat(gap)), ...right];
  return away === undefined ? [...left.slice(0, 1), span('  '), ...right] : [span('oplab top ', 'bold'), ...right];
}

function chapterLines({ chapter }: TopState, width: number): Line[] {
  if (chapter === undefined) return [];
  const title = ` ${chapter.number}/${chapter.of} ${chapter.title} `;
  return [inWidth([span(title, 'selected'), span(` ${chapter.text}`, 'bold')], width)];
}

function keyLine(state: TopState, width: number): Line {
  if (state.help) return styled(' any key: back', 'dim');
  const move = { incidents: 'select', session: 'scroll', monitors: 'scroll' }[state.focus];
  const keys: [string, string][] = [
    ['↑↓', move],
    ['tab', 'pane'],
    ['enter', state.zoomed ? 'unzoom' : 'zoom'],
    ...(state.trailTop === 'end' ? [] : ([['f', 'follow']] as [string, string][])),
    ['a', state.hideFinished ? 'show finished' : 'hide finished'],
    ...(state.pinned ? ([['esc', 'go by itself']] as [string, string][]) : []),
    ['?', 'help'],
    ['q', 'quit'],
  ];
  const line: Span[] = [];
  let used = 0;
  // What does not fit is left out from the middle: help and quit are always there.
  for (const [index, [key, text]] of keys.entries()) {
    const after = keys
      .slice(Math.max(index + 1, keys.length - 2))
      .reduce((sum, [k, t]) => sum + k.length + t.length + 3, 0);
    const columns = key.length + text.length + 3;
    if (used + columns + after > width && index < keys.length - 2) continue;
    line.push(span(` ${key}`, 'bold'), span(` ${text} `, 'dim'));
    used += columns;
  }
  return line;
}

const GLYPHS: Record<string, { glyph: string; tone: Tone }> = {
  Running: { glyph: '●', tone: 'warn' },
  Verifying: { glyph: '◐', tone: 'call' },
  Resolved: { glyph: '✓', tone: 'good' },
  Escalated: { glyph: '!', tone: 'bad' },
  Failed: { glyph: '✗', tone: 'bad' },
  Cancelled: { glyph: '-', tone: 'dim' },
  Pending: { glyph: '○', tone: 'plain' },
};

function phaseOf(incident: Incident): string {
  if (incident.spec.suspend && !isFinished(incident)) return 'Held';
  return incident.status?.phase ?? 'Pending';
}

function incidentBox(state: TopState, width: number, rows: number): Box {
  const list = listed(state);
  const title = `Incidents ${list.length}${list.length === state.incidents.length ? '' : ` of ${state.incidents.length}`}`;
  if (list.length === 0) return { pane: 'incidents', title, lines: emptyList(state, width) };
  const tall = list.length * 2 <= rows;
  const each = list.map((incident) => incidentLines(state, incident, width, tall));
  const at = Math.max(
    0,
    list.findIndex((incident) => sessionOf(incident) === state.selected),
  );
  const perScreen = Math.max(1, Math.floor(rows / (tall ? 2 : 1)));
  const from = Math.max(0, Math.min(at - Math.floor(perScreen / 2), list.length - perScreen));
  return { pane: 'incidents', title, lines: each.slice(from, from + perScreen).flat() };
}

function emptyList(state: TopState, width: number): Line[] {
  const where = state.namespace === undefined ? '' : ` in namespace ${state.namespace}`;
  const text =
    typeof state.cluster === 'object'
      ? `The cluster cannot be read: ${state.cluster.away}. Trying again.`
      : state.cluster === 'connecting'
        ? 'Asking the cluster.'
        : `No Incidents${where}. All is quiet, or nothing watches; see the Monitors below.`;
  return folded(text, width - 2).map((line) => styled(` ${line}`, typeof state.cluster === 'object' ? 'bad' : 'dim'));
}

function incidentLines(state: TopState, incident: Incident, width: number, tall: boolean): Line[] {
  const phase = phaseOf(incident);
  const { glyph, tone } = GLYPHS[phase] ?? { glyph: '○', tone: 'dim' };
  const selected = sessionOf(incident) === state.selected;
  const full = shownName(incident.metadata, state.incidents);
  const old = age(incident.metadata.creationTimestamp, state.now);
  const tail = tall ? old : `${phase} ${old}`;
  const nameRoom = width - 4 - tail.length - 1;
  const first: Line = [
    span(selected ? '>' : ' ', 'bold'),
    span(`${glyph} `, tone),
    ...inWidth(styled(full, selected ? 'bold' : 'plain'), nameRoom),
    span(` ${tail} `, 'dim'),
  ];
  const shown = selected && state.focus === 'incidents' ? inTone(inWidth(first, width), 'selected') : first;
  if (!tall) return [shown];
  const facts = [phase, incident.spec.severity, incident.status?.claim?.outcome ?? ''].filter((fact) => fact !== '');
  return [shown, [span('   '), span(facts.join(', '), isWorkedOn(incident) ? tone : 'dim')]];
}

/** In dollars, fine enough to be seen ticking. */
function money(microUSD: number): string {
  return `$${(microUSD / 1_000_000).toFixed(4)}`;
}

function spentLine(state: TopState, incident: Incident): Line {
  const { usage, limits, startTime, finishTime, attempts } = incident.status ?? {};
  // Status follows the record by a moment; the record counts every call as it ends.
  const cost = Math.max((usage?.costMilliUSD ?? 0) * 1000, state.trail?.costMicroUSD ?? 0);
  const of = (limit: string | undefined) => (limit === undefined ? '' : `/${limit}`);
  const tokens =
    usage === undefined ? 0 : usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
  const parts = [
    money(cost) + of(limits && `$${(limits.maxCostMilliUSD / 1000).toFixed(2)}`),
    `turn ${usage?.turns ?? 0}${of(limits && String(limits.maxTurns))}`,
    ...(startTime === undefined ? [] : [elapsed(startTime, finishTime, state.now)]),
    `attempt ${attempts?.length ?? 0}${of(limits && String(limits.attempts))}`,
    `${count(tokens)} tokens`,
  ];
  return [span(parts[0] ?? '', 'bold'), span(`  ${parts.slice(1).join('  ')}`)];
}

function elapsed(from: string, to: string | undefined, now: Date): string {
  const ms = (to === undefined ? now.getTime() : Date.parse(to)) - Date.parse(from);
  return duration(Math.max(0, Math.floor(ms / 1000)) * 1000)
    .replace(/\.0 s$/, ' s')
    .replace(/^0 ms$/, '0 s');
}

function sessionBox(state: TopState, width: number, rows: number): { box: Box; metrics: Metrics } {
  const incident = selectedIncident(state);
  if (incident === undefined) {
    const hint = styled(' The session of the Incident under the cursor goes here.', 'dim');
    return { box: { pane: 'session', title: 'Session', lines: [hint] }, metrics: NO_METRICS };
  }
  const { namespace = '', name } = incident.metadata;
  const phase = phaseOf(incident);
  const { tone } = GLYPHS[phase] ?? { tone: 'plain' as const };
  const message = incident.status?.message ?? '';
  const head: Line[] = [
    inWidth([span(incident.spec.summary, 'bold')], width),
    inWidth(
      [span(phase, tone), span(message === '' ? '' : `: ${message.replace(new RegExp(`^${phase}:? `), '')}`)],
      width,
    ),
    inWidth(spentLine(state, incident), width),
  ];
  const notes = sessionNotes(state, incident, width);
  const room = Math.max(1, rows - head.length - notes.length);
  const all = state.trail === undefined ? [] : trailLines(state.trail, width, state.now);
  const last = Math.max(0, all.length - room);
  const top = state.trailTop === 'end' ? last : Math.min(state.trailTop, last);
  const body = all.slice(top, top + room);
  const below = all.length - top - body.length;
  const place = below > 0 ? `, ${count(below)} lines below, f follows` : '';
  return {
    box: {
      pane: 'session',
      title: `${namespace}/${name}${place}`,
      lines: [...head, ...body, ...(notes.length === 0 ? [] : padded(room - body.length)), ...notes],
    },
    metrics: { ...NO_METRICS, trailLines: all.length, trailHeight: room },
  };
}

function padded(count: number): Line[] {
  return Array.from({ length: Math.max(0, count) }, () => EMPTY);
}

/** Why nothing comes, where that is not plain to see. */
function sessionNotes({ trail }: TopState, incident: Incident, width: number): Line[] {
  if (trail === undefined || trail.sealed) return [];
  if (trail.waiting === undefined) return trail.entries.length === 0 ? [styled('Asking the gateway.', 'dim')] : [];
  const text = isUnopened(trail.waiting)
    ? isFinished(incident)
      ? 'The log of this gateway has nothing of it.'
      : 'Nothing is on record yet.'
    : `Waiting for the gateway: ${trail.waiting}`;
  return folded(text, width)
    .slice(0, 3)
    .map((line) => styled(line, isUnopened(trail.waiting ?? '') ? 'dim' : 'bad'));
}

function monitorBox(
  state: TopState,
  width: number,
  rows: number,
): { box: Box; metrics: Pick<Metrics, 'monitorLines' | 'monitorHeight'> } {
  const room = Math.max(1, rows - 1);
  const all = monitorLines(state, width);
  const top = Math.min(state.monitorTop, Math.max(0, all.length - room));
  const more = all.length - top - room;
  const title = `Monitors ${state.monitors?.length ?? 0}${more > 0 ? `, ${more} more below` : ''}`;
  return {
    box: { pane: 'monitors', title, lines: [patientLine(state), ...all.slice(top, top + room)] },
    metrics: { monitorLines: all.length, monitorHeight: room },
  };
}

function checkBox(state: TopState, width: number): Box {
  const incident = selectedIncident(state);
  return {
    pane: undefined,
    title: 'Checks',
    lines: incident === undefined ? [] : checkLines(incident, state.now, width),
  };
}
