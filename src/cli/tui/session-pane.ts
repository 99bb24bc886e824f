// The session of the selected Incident: its summary, its usage, and its trail, live.

import type { Incident } from '../../api/incident.ts';
import { countedTokens } from '../../api/incident-status.ts';
import { count, duration } from '../format.ts';
import { isUnopened } from './bars.ts';
import type { Box } from './box.ts';
import { displayPhase, GLYPHS } from './incident-pane.ts';
import { isFinished, type Metrics, selectedIncident, type TopState } from './state.ts';
import { EMPTY, folded, inWidth, type Line, span, styled } from './styled-line.ts';
import { statusTailLines, trailLines } from './trail-lines.ts';

/** A cost in US dollars, with enough digits to show each model call. */
function money(microUSD: number): string {
  return `$${(microUSD / 1_000_000).toFixed(4)}`;
}

function usageLine(state: TopState, incident: Incident): Line {
  const { usage, limits, startTime, finishTime, attempts } = incident.status ?? {};
  // Status lags slightly behind the record, which has the cost of every call as soon as it ends.
  const cost = Math.max((usage?.costMilliUSD ?? 0) * 1000, state.trail?.costMicroUSD ?? 0);
  const of = (limit: string | undefined) => (limit === undefined ? '' : `/${limit}`);
  const tokens = usage === undefined ? 0 : countedTokens(usage);
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

type TrailMetrics = Pick<Metrics, 'trailLines' | 'trailHeight'>;

/** The pane, and the metrics for scrolling it. */
export function sessionBox(state: TopState, width: number, rows: number): { box: Box; metrics: TrailMetrics } {
  const incident = selectedIncident(state);
  if (incident === undefined) {
    const hint = styled(' Shows the session of the selected Incident.', 'dim');
    return { box: { pane: 'session', title: 'Session', lines: [hint] }, metrics: { trailLines: 0, trailHeight: 1 } };
  }
  const { namespace = '', name } = incident.metadata;
  const phase = displayPhase(incident);
  const { tone } = GLYPHS[phase] ?? { tone: 'plain' as const };
  const message = incident.status?.message ?? '';
  const head: Line[] = [
    inWidth([span(incident.spec.summary, 'bold')], width),
    inWidth(
      [span(phase, tone), span(message === '' ? '' : `: ${message.replace(new RegExp(`^${phase}:? `), '')}`)],
      width,
    ),
    inWidth(usageLine(state, incident), width),
  ];
  const notes = sessionNotes(state, incident, width);
  const room = Math.max(1, rows - head.length - notes.length);
  const all = sessionLines(state, incident, width);
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
    metrics: { trailLines: all.length, trailHeight: room },
  };
}

/** The trail, or its tail from the Incident's status while the gateway does not provide it. */
function sessionLines({ trail, now }: TopState, incident: Incident, width: number): Line[] {
  if (trail !== undefined && trail.entries.length > 0) return trailLines(trail, width, now);
  if (trail?.waiting === undefined) return [];
  return statusTailLines(incident.status?.audit?.tail ?? [], width);
}

function padded(count: number): Line[] {
  return Array.from({ length: Math.max(0, count) }, () => EMPTY);
}

/** Explains why no entries arrive, if that is not obvious. */
function sessionNotes({ trail }: TopState, incident: Incident, width: number): Line[] {
  if (trail === undefined || trail.sealed) return [];
  if (trail.waiting === undefined)
    return trail.entries.length === 0 ? [styled('Connecting to the gateway.', 'dim')] : [];
  const unopened = isUnopened(trail.waiting);
  const text = unopened
    ? isFinished(incident)
      ? "This gateway's log has no entries of this session."
      : 'There are no entries yet.'
    : `Waiting for the gateway: ${trail.waiting.reason}`;
  return folded(text, width)
    .slice(0, 3)
    .map((line) => styled(line, unopened ? 'dim' : 'bad'));
}
