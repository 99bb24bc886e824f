// The lines around the panes: counts and connections at the top, the chapter, and the keys.

import { clock } from '../format.ts';
import type { Waiting } from '../reader/audit-reader.ts';
import { isFinished, isWorkedOn, type Link, type TopState } from './state.ts';
import { inWidth, type Line, lineWidth, type Span, span, styled } from './styled-line.ts';

function linkSpan(name: string, link: Link): Span {
  if (link === 'connected') return span(`${name} ok`, 'good');
  if (link === 'connecting') return span(`${name} …`, 'warn');
  return span(`${name} down`, 'bad');
}

/** The state of the gateway's stream. */
export function gatewayLink({ trail }: TopState): Link {
  if (trail === undefined || (trail.entries.length === 0 && trail.waiting === undefined)) return 'connecting';
  if (trail.waiting === undefined || isUnopened(trail.waiting)) return 'connected';
  return { away: trail.waiting.reason };
}

/** Whether the gateway responded that it does not have the session yet. */
export function isUnopened({ code }: Waiting): boolean {
  return code === 'OPLAB_NOT_FOUND';
}

export function topLine(state: TopState, width: number): Line {
  const open = state.incidents.filter((incident) => !isFinished(incident));
  const working = open.filter(isWorkedOn).length;
  const left: Line = [
    span('oplab top', 'bold'),
    span(` ${state.namespace ?? 'all namespaces'}  `),
    span(`${open.length} open, ${working} active`, working > 0 ? 'warn' : 'plain'),
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

export function chapterLines({ chapter }: TopState, width: number): Line[] {
  if (chapter === undefined) return [];
  const title = ` ${chapter.number}/${chapter.of} ${chapter.title} `;
  return [inWidth([span(title, 'selected'), span(` ${chapter.text}`, 'bold')], width)];
}

export function keyLine(state: TopState, width: number): Line {
  if (state.help) return styled(' any key: back', 'dim');
  const move = { incidents: 'select', session: 'scroll', monitors: 'scroll' }[state.focus];
  const keys: [string, string][] = [
    ['↑↓', move],
    ['tab', 'pane'],
    ['enter', state.zoomed ? 'unzoom' : 'zoom'],
    ...(state.trailTop === 'end' ? [] : ([['f', 'follow']] as [string, string][])),
    ['a', state.hideFinished ? 'show finished' : 'hide finished'],
    ...(state.pinned ? ([['esc', 'auto-select']] as [string, string][]) : []),
    ['?', 'help'],
    ['q', 'quit'],
  ];
  const line: Span[] = [];
  let used = 0;
  // Keys that do not fit are omitted from the middle, so that help and quit are always shown.
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
