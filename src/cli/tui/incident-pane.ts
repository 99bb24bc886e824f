// The list of Incidents: open ones above finished ones, with the cursor on one of them.

import { type Incident, sessionId } from '../../api/incident.ts';
import { age } from '../format.ts';
import type { Box } from './box.ts';
import { isFinished, isWorkedOn, listed, shownName, type TopState } from './state.ts';
import { folded, inTone, inWidth, type Line, span, styled, type Tone } from './styled-line.ts';

export const GLYPHS: Record<string, { glyph: string; tone: Tone }> = {
  Running: { glyph: '●', tone: 'warn' },
  Verifying: { glyph: '◐', tone: 'call' },
  Resolved: { glyph: '✓', tone: 'good' },
  Escalated: { glyph: '!', tone: 'bad' },
  Failed: { glyph: '✗', tone: 'bad' },
  Cancelled: { glyph: '-', tone: 'dim' },
  Pending: { glyph: '○', tone: 'plain' },
};

export function displayPhase(incident: Incident): string {
  if (incident.spec.suspend && !isFinished(incident)) return 'Held';
  return incident.status?.phase ?? 'Pending';
}

export function incidentBox(state: TopState, width: number, rows: number): Box {
  const list = listed(state);
  const title = `Incidents ${list.length}${list.length === state.incidents.length ? '' : ` of ${state.incidents.length}`}`;
  if (list.length === 0) return { pane: 'incidents', title, lines: emptyList(state, width) };
  const tall = list.length * 2 <= rows;
  const each = list.map((incident) => incidentLines(state, incident, width, tall));
  const at = Math.max(
    0,
    list.findIndex((incident) => sessionId(incident) === state.selected),
  );
  const perScreen = Math.max(1, Math.floor(rows / (tall ? 2 : 1)));
  const from = Math.max(0, Math.min(at - Math.floor(perScreen / 2), list.length - perScreen));
  return { pane: 'incidents', title, lines: each.slice(from, from + perScreen).flat() };
}

function emptyList(state: TopState, width: number): Line[] {
  const where = state.namespace === undefined ? '' : ` in namespace ${state.namespace}`;
  const text =
    typeof state.cluster === 'object'
      ? `Cannot read from the cluster: ${state.cluster.away}. Retrying.${hint(state)}`
      : state.cluster === 'connecting'
        ? 'Connecting to the cluster.'
        : `No Incidents${where}. The Monitors below show what is being checked.`;
  return folded(text, width - 2).map((line) => styled(` ${line}`, typeof state.cluster === 'object' ? 'bad' : 'dim'));
}

/**
 * A hint for users with access to one namespace only: the API server's error does not say what to
 * do.
 */
function hint({ cluster, namespace }: TopState): string {
  const forbidden = typeof cluster === 'object' && /forbidden/i.test(cluster.away);
  return forbidden && namespace === undefined
    ? ' If you have access to one namespace only, use oplab top -n NAMESPACE.'
    : '';
}

function incidentLines(state: TopState, incident: Incident, width: number, tall: boolean): Line[] {
  const phase = displayPhase(incident);
  const { glyph, tone } = GLYPHS[phase] ?? { glyph: '○', tone: 'dim' };
  const selected = sessionId(incident) === state.selected;
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
