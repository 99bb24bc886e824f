// The screen as a function of its state: its content, the cursor, and that it always fits.

import { describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import { API_VERSION } from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import { type Monitor, monitor } from '../../api/monitor.ts';
import type { Entry } from '../../audit/entry.ts';
import type { FollowEvent } from '../reader/audit-reader.ts';
import type { Key } from './keys.ts';
import { initialState, reduce, type TopEvent, type TopState } from './state.ts';
import { inWidth, lineText, lineWidth, styled } from './styled-line.ts';
import { type Size, screen } from './view.ts';

const now = new Date('2026-01-01T00:10:00Z');
const SMALL: Size = { columns: 80, rows: 24 };

function buildIncident(
  name: string,
  phase: string,
  more: { created?: string; severity?: string; status?: object } = {},
): Incident {
  const over = ['Resolved', 'Escalated', 'Failed', 'Cancelled'].includes(phase);
  const condition = {
    type: 'Finished',
    status: 'True',
    reason: phase,
    message: '',
    lastTransitionTime: now.toISOString(),
  };
  return anIncident({
    metadata: {
      namespace: 'tikv',
      name,
      uid: `uid-${name}`,
      creationTimestamp: more.created ?? '2026-01-01T00:05:00Z',
    },
    spec: {
      summary: `summary of ${name}`,
      severity: more.severity ?? 'warning',
      verify: { checks: [{ name: 'up', http: { service: 'pd', port: 2379, cel: 'true' } }] },
    },
    status: { phase, ...(over ? { conditions: [condition] } : {}), ...more.status },
  });
}

function buildMonitor(name: string, state: string, namespace = 'tikv'): Monitor {
  return monitor.parse({
    apiVersion: API_VERSION,
    kind: 'Monitor',
    metadata: { namespace, name },
    spec: { check: { http: { service: 'pd', port: 2379, cel: 'true' } }, incident: { summary: 's' } },
    status: { state, observed: 'body.count = 3' },
  });
}

let seq = 0;
function buildEntry(kind: Entry['kind'], more: Partial<Entry> = {}): FollowEvent {
  seq += 1;
  return {
    type: 'entry',
    entry: {
      ...{ session: 'x', seq, time: '2026-01-01T00:09:50Z', attempt: 1, writer: 'agent', clientKey: `1-${seq}`, kind },
      ...{ tool: null, params: null, exitCode: null, durationMs: null, content: '', blobDigest: null },
      ...{ prevHash: '', hash: '' },
      ...more,
    },
  };
}

const reduceAll = (state: TopState, ...events: TopEvent[]) => events.reduce(reduce, state);
const start = () => initialState(undefined, now);
const incidents = (...items: Incident[]): TopEvent => ({ type: 'incidents', items });
const of = (name: string, event: FollowEvent): TopEvent => ({ type: 'session', session: `uid-${name}`, event });
const shown = (state: TopState, size = SMALL) => screen(state, size).lines.map(lineText).join('\n');
const press = (state: TopState, ...keys: Key[]) =>
  keys.reduce((before, key) => reduce(before, { type: 'key', key, metrics: screen(before, SMALL).metrics }), state);
const letter = (character: string): Key => ({ character });

/** Everything at once: several Incidents, a long session, live output, Monitors. */
function busy(): TopState {
  let state = reduceAll(
    start(),
    incidents(
      buildIncident('store-down', 'Running'),
      ...Array.from({ length: 30 }, (_, n) => buildIncident(`old-${n}`, 'Resolved')),
    ),
    {
      type: 'monitors',
      items: Array.from({ length: 12 }, (_, n) =>
        buildMonitor(`monitor-with-a-long-name-${n}`, n === 3 ? 'Firing' : 'Healthy'),
      ),
    },
    of('store-down', buildEntry('reasoning', { content: 'ein langer Gedanke 日本語 und mehr '.repeat(20) })),
  );
  const call = buildEntry('tool_call', {
    tool: 'shell',
    params: { command: `echo ${'x'.repeat(300)}` },
    content: 'why',
  });
  state = reduceAll(state, of('store-down', call));
  const key = call.type === 'entry' ? call.entry.clientKey : '';
  for (let line = 0; line < 50; line += 1) {
    state = reduceAll(
      state,
      of('store-down', {
        type: 'live',
        chunk: { callKey: key, stream: 'stdout', text: `line ${line} 🙂 ${'y'.repeat(120)}\n` },
      }),
    );
  }
  return state;
}

describe('the screen', () => {
  it('has exactly as many rows and columns as the terminal, whatever its size and whatever is known', () => {
    const states = [start(), busy(), press(busy(), 'enter'), press(busy(), letter('?')), press(busy(), 'tab', 'home')];
    states.push(
      reduceAll(busy(), { type: 'chapter', chapter: { number: 3, of: 6, title: 'fault', text: 'z'.repeat(300) } }),
    );
    for (const state of states) {
      for (const columns of [1, 12, 41, 69, 70, 80, 220]) {
        for (const rows of [1, 8, 16, 24, 60]) {
          const { lines } = screen(state, { columns, rows });
          expect(lines.length).toBe(rows);
          for (const line of lines) expect(lineWidth(line), `${columns}x${rows}: ${lineText(line)}`).toBe(columns);
        }
      }
    }
  });

  it('shows what it waits for, and why the cluster cannot be read', () => {
    expect(shown(start())).toContain('Connecting to the cluster.');
    expect(shown(reduceAll(start(), { type: 'cluster-away', reason: 'forbidden: no list' }))).toMatch(
      /Cannot read from the[\s\S]*forbidden/,
    );
    expect(shown(reduceAll(start(), incidents()))).toContain('No Incidents.');
  });

  it('keeps what it knew while the cluster is unreachable', () => {
    const state = reduceAll(busy(), { type: 'cluster-away', reason: 'ECONNREFUSED' });
    expect(shown(state)).toContain('cluster down');
    expect(shown(state)).toContain('summary of store-down');
    expect(shown(reduceAll(state, incidents(buildIncident('store-down', 'Running'))))).toContain('cluster ok');
  });

  it('shows the health of each namespace by its worst Monitor, and lists Monitors worst first', () => {
    const text = shown(
      reduceAll(start(), {
        type: 'monitors',
        items: [
          buildMonitor('a', 'Healthy'),
          buildMonitor('b', 'Unknown'),
          buildMonitor('c', 'Firing'),
          buildMonitor('d', 'Healthy', 'shop'),
        ],
      }),
      { columns: 160, rows: 30 },
    );
    expect(text).toContain('Health tikv: ✗ Firing (1 of 3), shop: ✓ Healthy (1 of 1)');
    expect(text).toMatch(/✗ tikv\/c[\s\S]*\? tikv\/b[\s\S]*✓ shop\/d[\s\S]*✓ tikv\/a/);
  });

  it('says that there are no Monitors, or why they cannot be read', () => {
    expect(shown(reduceAll(start(), { type: 'monitors', items: [] }))).toContain('No Monitors');
    expect(shown(reduceAll(start(), { type: 'monitors', items: undefined, away: 'not served' }))).toContain(
      'not served',
    );
  });

  it('shows the summary and next steps of an escalated Incident', () => {
    const handover = {
      summary: 'PD has no quorum',
      attempts: [],
      changes: [],
      nextSteps: [{ what: 'the pods', command: ['kubectl', '-n', 'tikv', 'get', 'a  b'] }],
    };
    const state = reduceAll(start(), incidents(buildIncident('a', 'Escalated', { status: { handover } })));
    expect(shown(state)).toMatch(
      /Hand-over and checks[\s\S]*summary: PD has no quorum[\s\S]*next step: the pods[\s\S]*kubectl -n tikv get 'a {2}b'/,
    );
  });

  it('shows the tail of the trail from status if the gateway is unreachable from the start', () => {
    const tail = [{ seq: 7, time: '2026-01-01T00:09:00Z', kind: 'tool_call', tool: 'shell', text: 'kubectl get pods' }];
    const state = reduceAll(start(), incidents(buildIncident('a', 'Running', { status: { audit: { tail } } })));
    expect(shown(state)).not.toContain('kubectl get pods');
    const away = reduceAll(state, of('a', { type: 'waiting', reason: 'ECONNREFUSED' }));
    expect(shown(away)).toMatch(/tool call: kubectl get pods[\s\S]*Waiting for the gateway: ECONNREFUSED/);
    expect(shown(reduceAll(away, of('a', buildEntry('reasoning', { content: 'here it is' }))))).not.toContain(
      'kubectl get pods',
    );
  });

  it('shows that a session has no entries yet by the code of the error, not by its text', () => {
    const state = reduceAll(start(), incidents(buildIncident('a', 'Running')));
    const unopened = of('a', { type: 'waiting', reason: 'any text', code: 'OPLAB_NOT_FOUND' });
    expect(shown(reduceAll(state, unopened))).toMatch(/gateway ok[\s\S]*There are no entries yet\./);
    const away = of('a', { type: 'waiting', reason: 'is not in the log', code: 'OPLAB_GATEWAY_UNREACHABLE' });
    expect(shown(reduceAll(state, away))).toMatch(/gateway down[\s\S]*Waiting for the gateway: is not in the log/);
  });

  it('hints at -n to users with access to one namespace only', () => {
    const state = reduceAll(start(), { type: 'cluster-away', reason: 'incidents is forbidden: User cannot list' });
    expect(shown(state).replace(/[\s│]+/g, ' ')).toContain('-n NAMESPACE');
  });

  it('counts cost by the record while status lags behind', () => {
    const usage = {
      turns: 1,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      costMilliUSD: 10,
    };
    const state = reduceAll(start(), incidents(buildIncident('a', 'Running', { status: { usage } })));
    expect(shown(state)).toContain('$0.0100');
    const call = buildEntry('model_call', { writer: 'gateway', params: { costMicroUSD: 12_345 } });
    expect(shown(reduceAll(state, of('a', call)))).toContain('$0.0123');
  });

  it('shows live output below its command, and the last state of progress bars', () => {
    const call = buildEntry('tool_call', { tool: 'shell', params: { command: 'sleep 9' } });
    const key = call.type === 'entry' ? call.entry.clientKey : '';
    const chunk = (text: string): FollowEvent => ({ type: 'live', chunk: { callKey: key, stream: 'stdout', text } });
    let state = reduceAll(start(), incidents(buildIncident('a', 'Running')), of('a', call), of('a', chunk('10%\r50%')));
    expect(shown(state)).toMatch(/\$ sleep 9[\s\S]*│ 50%[\s\S]*running, 10 s/);
    state = reduceAll(
      state,
      of('a', chunk('\r100%\ndone\n')),
      of('a', buildEntry('tool_result', { params: { call: key }, exitCode: 3, durationMs: 9000 })),
    );
    expect(shown(state)).toMatch(/│ 100%[\s\S]*│ done[\s\S]*exit 3, 9\.0 s/);
    expect(shown(state)).not.toContain('running,');
    expect(shown(state)).not.toContain('50%');
  });

  it('removes terminal control characters from session output', () => {
    const state = reduceAll(
      start(),
      incidents(buildIncident('a', 'Running')),
      of('a', buildEntry('reasoning', { content: '\u001b[2Jx\u0007\u202ey' })),
    );
    for (const line of screen(state, SMALL).lines) expect(lineText(line)).not.toMatch(/[\p{Cc}\u202e]/u);
  });
});

describe('the cursor', () => {
  const session = (state: TopState) => state.selected?.replace('uid-', '');

  it('moves automatically to an active Incident, and stays until another one becomes active', () => {
    let state = reduceAll(
      start(),
      incidents(buildIncident('waiting', 'Pending', { severity: 'critical' }), buildIncident('first', 'Running')),
    );
    expect(session(state)).toBe('first');
    state = reduceAll(
      state,
      incidents(buildIncident('first', 'Verifying'), buildIncident('urgent', 'Running', { severity: 'critical' })),
    );
    expect(session(state)).toBe('first');
    state = reduceAll(state, incidents(buildIncident('first', 'Resolved')));
    expect(session(state)).toBe('first');
    state = reduceAll(state, incidents(buildIncident('first', 'Resolved'), buildIncident('second', 'Running')));
    expect(session(state)).toBe('second');
  });

  it('stays where the user put it until escape, and moves on if that Incident is deleted', () => {
    const both = incidents(buildIncident('a', 'Running'), buildIncident('b', 'Pending'));
    let state = press(reduceAll(start(), both), 'down');
    expect(session(state)).toBe('b');
    expect(session(reduceAll(state, both))).toBe('b');
    expect(session(reduceAll(press(state, 'escape'), both))).toBe('a');
    state = reduceAll(state, incidents(buildIncident('a', 'Running')));
    expect(session(state)).toBe('a');
  });

  it('lists open Incidents in queue order above finished ones, which `a` hides', () => {
    const state = reduceAll(
      start(),
      incidents(
        buildIncident('over', 'Resolved', { created: '2026-01-01T00:09:00Z' }),
        buildIncident('young', 'Pending', { created: '2026-01-01T00:08:00Z' }),
        buildIncident('old', 'Pending', { created: '2026-01-01T00:01:00Z' }),
        buildIncident('urgent', 'Pending', { severity: 'critical', created: '2026-01-01T00:09:30Z' }),
      ),
    );
    expect(shown(state)).toMatch(/urgent[\s\S]*old[\s\S]*young[\s\S]*over/);
    expect(shown(press(state, letter('a')))).not.toContain('✓ over');
  });

  it('scrolls the session independently of new entries, and follows again', () => {
    let state = press(busy(), 'tab', 'home');
    const page = shown(state);
    expect(page).toContain('lines below');
    state = reduceAll(state, of('store-down', buildEntry('reasoning', { content: 'news' })));
    expect(shown(state)).not.toContain('news');
    expect(shown(press(state, letter('f')))).toContain('news');
    expect(press(state, 'end').trailTop).toBe('end');
  });

  it('quits on q and ctrl-c, also from the help', () => {
    expect(press(start(), letter('q')).quit).toBe(true);
    expect(press(start(), letter('?'), 'interrupt').quit).toBe(true);
  });

  it('does nothing harmful on an empty screen', () => {
    const keys: Key[] = [
      'up',
      'down',
      'home',
      'end',
      'page-up',
      'page-down',
      'enter',
      'escape',
      letter('a'),
      letter('x'),
    ];
    for (const focus of [[], ['tab'], ['tab', 'tab']] as Key[][])
      expect(press(start(), ...focus, ...keys).quit).toBe(false);
  });
});

describe('a line', () => {
  it('is truncated or padded to the exact width, also with wide characters', () => {
    expect(lineText(inWidth(styled('abc'), 5))).toBe('abc  ');
    expect(lineText(inWidth(styled('abcdef'), 4))).toBe('abc…');
    expect(lineText(inWidth(styled('日本語'), 4))).toBe('日… ');
    expect(lineText(inWidth([...styled('ab'), ...styled('cd')], 3))).toBe('ab…');
  });
});
