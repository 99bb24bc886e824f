// The state of `oplab top`, as a pure reducer over events. The screen depends on this state alone.

import { CONDITIONS, type Incident, sessionId } from '../../api/incident.ts';
import { isTrue } from '../../api/meta.ts';
import type { Monitor } from '../../api/monitor.ts';
import type { FollowEvent } from '../reader/audit-reader.ts';
import type { Key } from './keys.ts';
import { emptyTrail, grow, type Trail } from './trail.ts';

/** The state of a connection; `away` is the reason why it does not respond. */
export type Link = 'connecting' | 'connected' | { readonly away: string };

export type Pane = 'incidents' | 'session' | 'monitors';
const PANES: readonly Pane[] = ['incidents', 'session', 'monitors'];

/** A chapter shown above the panes, used by the demo. */
export interface Chapter {
  readonly number: number;
  readonly of: number;
  readonly title: string;
  /** What is happening now. */
  readonly text: string;
}

export interface TopState {
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  readonly now: Date;
  readonly cluster: Link;
  /** In the order of the list. */
  readonly incidents: readonly Incident[];
  /** Undefined: the cluster does not serve Monitors, or they cannot be read. */
  readonly monitors: readonly Monitor[] | undefined;
  readonly monitorsAway: string | undefined;
  /** The session of the selected Incident. */
  readonly selected: string | undefined;
  /** False: the cursor moves automatically to the active Incident. */
  readonly pinned: boolean;
  readonly trail: Trail | undefined;
  readonly focus: Pane;
  /** The first visible line of the trail; `end` follows new lines. */
  readonly trailTop: number | 'end';
  /** The first visible Monitor. */
  readonly monitorTop: number;
  readonly zoomed: boolean;
  readonly hideFinished: boolean;
  readonly help: boolean;
  readonly chapter: Chapter | undefined;
  readonly quit: boolean;
}

/** The dimensions of the last screen, on which scrolling is based. */
export interface Metrics {
  readonly trailLines: number;
  readonly trailHeight: number;
  readonly monitorLines: number;
  readonly monitorHeight: number;
  readonly incidentHeight: number;
}

export type TopEvent =
  | { readonly type: 'incidents'; readonly items: readonly Incident[] }
  | { readonly type: 'cluster-away'; readonly reason: string }
  | { readonly type: 'monitors'; readonly items: readonly Monitor[] | undefined; readonly away?: string }
  | { readonly type: 'session'; readonly session: string; readonly event: FollowEvent }
  | { readonly type: 'chapter'; readonly chapter: Chapter }
  | { readonly type: 'tick'; readonly now: Date }
  | { readonly type: 'key'; readonly key: Key; readonly metrics: Metrics };

export function initialState(namespace: string | undefined, now: Date): TopState {
  return {
    namespace,
    now,
    cluster: 'connecting',
    incidents: [],
    monitors: undefined,
    monitorsAway: undefined,
    selected: undefined,
    pinned: false,
    trail: undefined,
    focus: 'incidents',
    trailTop: 'end',
    monitorTop: 0,
    zoomed: false,
    hideFinished: false,
    help: false,
    chapter: undefined,
    quit: false,
  };
}

export function reduce(state: TopState, event: TopEvent): TopState {
  switch (event.type) {
    case 'tick':
      return { ...state, now: event.now };
    case 'chapter':
      return { ...state, chapter: event.chapter };
    case 'cluster-away':
      return { ...state, cluster: { away: event.reason } };
    case 'incidents':
      return withCursor({ ...state, cluster: 'connected', incidents: [...event.items].sort(inOrder) });
    case 'monitors':
      return { ...state, monitors: event.items, monitorsAway: event.away };
    case 'session':
      // An aborted stream may still deliver an event.
      if (state.trail?.session !== event.session) return state;
      return { ...state, trail: grow(state.trail, event.event) };
    case 'key':
      return pressed(state, event.key, event.metrics);
  }
}

/** An object's name on screen: with its namespace if the list spans several. */
export function shownName(
  metadata: { readonly namespace?: string | undefined; readonly name: string },
  among: readonly { readonly metadata: { readonly namespace?: string | undefined } }[],
): string {
  const { namespace = '', name } = metadata;
  return among.every((other) => other.metadata.namespace === namespace) ? name : `${namespace}/${name}`;
}

export const isFinished = (incident: Incident) => isTrue(incident.status?.conditions, CONDITIONS.Finished);

/** The Incidents that the list shows. */
export function listed(state: TopState): readonly Incident[] {
  if (!state.hideFinished) return state.incidents;
  return state.incidents.filter((incident) => !isFinished(incident) || sessionId(incident) === state.selected);
}

export function selectedIncident(state: TopState): Incident | undefined {
  return state.incidents.find((incident) => sessionId(incident) === state.selected);
}

const SEVERITIES = ['critical', 'warning', 'info'];

/**
 * Open Incidents first, in queue order (severity, then age), then finished ones, the latest first.
 */
function inOrder(a: Incident, b: Incident): number {
  const over = Number(isFinished(a)) - Number(isFinished(b));
  if (over !== 0) return over;
  const time = (incident: Incident) => incident.metadata.creationTimestamp ?? '';
  if (isFinished(a)) return time(b).localeCompare(time(a));
  const severity = SEVERITIES.indexOf(a.spec.severity) - SEVERITIES.indexOf(b.spec.severity);
  return severity !== 0 ? severity : time(a).localeCompare(time(b)) || a.metadata.name.localeCompare(b.metadata.name);
}

/** The Incident that is selected automatically: an active one, else the first in the list. */
function mostInteresting(incidents: readonly Incident[]): Incident | undefined {
  return incidents.find(isWorkedOn) ?? incidents[0];
}

export function isWorkedOn({ status }: Incident): boolean {
  return status?.phase === 'Running' || status?.phase === 'Verifying';
}

function withCursor(state: TopState): TopState {
  const current = selectedIncident(state);
  if (state.pinned && current !== undefined) return state;
  if (current !== undefined && isWorkedOn(current)) return state;
  // An Incident that has just finished stays selected until another one starts.
  const next = mostInteresting(state.incidents);
  if (current !== undefined && (next === undefined || isFinished(next))) return state;
  return select(state, next, false);
}

function select(state: TopState, incident: Incident | undefined, pinned: boolean): TopState {
  const selected = incident === undefined ? undefined : sessionId(incident);
  if (selected === state.selected) return { ...state, pinned };
  const trail = selected === undefined ? undefined : emptyTrail(selected);
  return { ...state, selected, pinned, trail, trailTop: 'end' };
}

function pressed(state: TopState, key: Key, metrics: Metrics): TopState {
  const name = typeof key === 'string' ? key : key.character;
  if (name === 'interrupt' || name === 'q') return { ...state, quit: true };
  if (state.help) return { ...state, help: false };
  switch (name) {
    case '?':
      return { ...state, help: true };
    case 'tab':
    case 'right':
    case 'l':
      return { ...state, focus: neighbour(state.focus, 1) };
    case 'back-tab':
    case 'left':
    case 'h':
      return { ...state, focus: neighbour(state.focus, -1) };
    case 'enter':
    case 'z':
      return { ...state, zoomed: !state.zoomed, focus: state.zoomed ? state.focus : 'session' };
    case 'escape':
      return { ...state, zoomed: false, pinned: false, trailTop: 'end' };
    case 'f':
      return { ...state, trailTop: 'end' };
    case 'a':
      return { ...state, hideFinished: !state.hideFinished };
    case 'up':
    case 'k':
      return moved(state, -1, metrics);
    case 'down':
    case 'j':
      return moved(state, 1, metrics);
    case 'page-up':
      return moved(state, -Math.max(1, pageHeight(state, metrics) - 1), metrics);
    case 'page-down':
    case ' ':
      return moved(state, Math.max(1, pageHeight(state, metrics) - 1), metrics);
    case 'home':
    case 'g':
      return moved(state, Number.NEGATIVE_INFINITY, metrics);
    case 'end':
    case 'G':
      return moved(state, Number.POSITIVE_INFINITY, metrics);
    default:
      return state;
  }
}

function neighbour(pane: Pane, step: number): Pane {
  return PANES[(PANES.indexOf(pane) + step + PANES.length) % PANES.length] ?? 'incidents';
}

function pageHeight({ focus }: TopState, metrics: Metrics): number {
  if (focus === 'incidents') return metrics.incidentHeight;
  return focus === 'session' ? metrics.trailHeight : metrics.monitorHeight;
}

function moved(state: TopState, by: number, metrics: Metrics): TopState {
  switch (state.focus) {
    case 'incidents': {
      const list = listed(state);
      const at = list.findIndex((incident) => sessionId(incident) === state.selected);
      return list.length === 0 ? state : select(state, list[clamp(at + by, list.length - 1)], true);
    }
    case 'session': {
      const last = Math.max(0, metrics.trailLines - metrics.trailHeight);
      const top = state.trailTop === 'end' ? last : Math.min(state.trailTop, last);
      const next = clamp(top + by, last);
      return { ...state, trailTop: next >= last ? 'end' : next };
    }
    case 'monitors':
      return {
        ...state,
        monitorTop: clamp(state.monitorTop + by, Math.max(0, metrics.monitorLines - metrics.monitorHeight)),
      };
  }
}

function clamp(value: number, last: number): number {
  return Math.max(0, Math.min(last, value));
}
