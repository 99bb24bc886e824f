// The Monitors: one line for the health of their namespaces, and one for each Monitor, worst first.

import type { Monitor } from '../../api/monitor.ts';
import { age } from '../format.ts';
import type { Box } from './box.ts';
import { type Metrics, shownName, type TopState } from './state.ts';
import { EMPTY, folded, inWidth, type Line, span, styled, type Tone } from './styled-line.ts';

type MonitorState = NonNullable<NonNullable<Monitor['status']>['state']>;

const STATES: Record<MonitorState, { glyph: string; tone: Tone; rank: number }> = {
  Firing: { glyph: '✗', tone: 'bad', rank: 0 },
  Unknown: { glyph: '?', tone: 'warn', rank: 1 },
  Pending: { glyph: '◐', tone: 'warn', rank: 2 },
  Healthy: { glyph: '✓', tone: 'good', rank: 3 },
  Suspended: { glyph: '-', tone: 'dim', rank: 4 },
};

/** The state of a Monitor; Unknown before its first check. */
const monitorState = (monitor: Monitor): MonitorState => monitor.status?.state ?? 'Unknown';

/** The health of each monitored namespace, which is the state of its worst Monitor. */
function healthLine(state: TopState): Line {
  if (state.monitors === undefined || state.monitors.length === 0) return EMPTY;
  const namespaces = Map.groupBy(state.monitors, ({ metadata }) => metadata.namespace ?? '');
  return [...namespaces].flatMap(([namespace, monitors], index) => {
    const states = monitors.map(monitorState);
    const worst = states.reduce((a, b) => (STATES[b].rank < STATES[a].rank ? b : a));
    const many = states.filter((candidate) => candidate === worst).length;
    return [
      span(index === 0 ? 'Health ' : ', ', 'dim'),
      span(`${namespace}: `),
      span(`${STATES[worst].glyph} ${worst}`, STATES[worst].tone),
      span(` (${many} of ${monitors.length})`, 'dim'),
    ];
  });
}

/** A line for each Monitor: state, since when, and what was observed or what is wrong. */
function monitorLines(state: TopState, width: number): Line[] {
  if (state.monitors === undefined || state.monitors.length === 0) {
    const where = state.namespace === undefined ? '' : ` in namespace ${state.namespace}`;
    const text =
      state.monitors === undefined
        ? state.monitorsAway === undefined
          ? 'Loading Monitors.'
          : `Cannot read Monitors: ${state.monitorsAway}`
        : `No Monitors${where}: no checks run, and only people and alerts open Incidents.`;
    return folded(text, width).map((line) => styled(line, 'dim'));
  }
  const { monitors } = state;
  const names = monitors.map(({ metadata }) => shownName(metadata, monitors));
  const column = Math.min(Math.max(0, ...names.map((name) => name.length)), Math.floor(width * 0.5));
  return state.monitors
    .map((monitor, index) => ({ monitor, name: names[index] ?? '' }))
    .sort(
      (a, b) =>
        STATES[monitorState(a.monitor)].rank - STATES[monitorState(b.monitor)].rank || a.name.localeCompare(b.name),
    )
    .map(({ monitor, name }) => monitorLine(monitor, name, column, state.now));
}

function monitorLine(monitor: Monitor, name: string, column: number, now: Date): Line {
  const current = monitorState(monitor);
  const { glyph, tone } = STATES[current];
  const { status } = monitor;
  const alarms = status?.alarms ?? [];
  const since = alarms.map((alarm) => alarm.startTime).sort()[0];
  const when = current === 'Healthy' || since === undefined ? '' : ` ${age(since, now)}`;
  // The message explains more than the observed value; a healthy Monitor has only the latter.
  const text = (current === 'Healthy' ? status?.observed : (status?.message ?? status?.observed)) ?? '';
  const opened = alarms.flatMap(({ incident }) => incident ?? [])[0];
  return [
    span(`${glyph} `, tone),
    ...inWidth(styled(name), column),
    span(` ${current}${when}`, tone),
    span(text === '' ? '' : `  ${text}`, 'dim'),
    span(opened === undefined ? '' : ` → ${opened}`),
  ];
}

/** The pane, with as many Monitors as fit below the health line. */
export function monitorBox(
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
    box: { pane: 'monitors', title, lines: [healthLine(state), ...all.slice(top, top + room)] },
    metrics: { monitorLines: all.length, monitorHeight: room },
  };
}
