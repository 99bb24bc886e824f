// An alarm that clears ends its Incident only if no agent has started and it is not suspended.

import { describe, expect, it } from 'vitest';
import { at, attempt, begun, condition, incident, iso, observed } from '../../../test/support/incident-fixtures.ts';
import { findCondition } from '../../api/meta.ts';
import { plan } from './plan.ts';

const alarm = (state: 'Firing' | 'Cleared') => ({
  state,
  occurrences: 3,
  firstSeen: iso(0),
  lastSeen: iso(5),
  ...(state === 'Cleared' ? { clearedTime: iso(20) } : {}),
});
const blocker = { namespace: 'tikv', name: 'other', target: 'tikv', working: true };
const reason = (made: ReturnType<typeof plan>) => findCondition(made.status?.conditions, 'Finished')?.reason;

describe('an Incident whose alarm has cleared', () => {
  it('ends Resolved while it waits in the queue, but has not succeeded', () => {
    const waiting = incident({ status: begun([], { alarm: alarm('Cleared') }) });
    const made = plan(waiting, observed({ blocker }), at(30));
    expect(reason(made)).toBe('AlarmCleared');
    expect(made.actions.map((action) => action.type)).toEqual(['clean-incident']);

    const sealing = incident({
      status: { ...made.status, alarm: alarm('Cleared'), audit: { finalHeadHash: 'h' } },
    });
    const ended = plan(sealing, observed({ cleaned: new Set(['incident']) }), at(31));
    expect(ended.status?.phase).toBe('Resolved');
    expect(findCondition(ended.status?.conditions, 'Succeeded')).toMatchObject({
      status: 'False',
      reason: 'AlarmCleared',
    });
    expect(ended.notes.map((note) => note.type)).toEqual(['Normal']);
  });

  it('also ends when its class is missing', () => {
    const made = plan(incident({ status: { alarm: alarm('Cleared') } }), observed({ agentClass: undefined }), at(30));
    expect(reason(made)).toBe('AlarmCleared');
  });

  it('does not end while it is suspended', () => {
    const held = incident({ spec: { suspend: true }, status: begun([], { alarm: alarm('Cleared') }) });
    const made = plan(held, observed(), at(30));
    expect(reason(made)).toBeUndefined();
    expect(made.status?.message).toMatch(/suspended/);
  });

  it.each([
    ['while an agent works', [attempt(1, { podUID: 'u1' })]],
    ['between attempts', [attempt(1, { podUID: 'u1', endTime: iso(10), reason: 'ChecksFailed' as const })]],
  ])('goes on %s', (_when, attempts) => {
    const made = plan(
      incident({ status: begun(attempts, { alarm: alarm('Cleared') }) }),
      observed({ blocker }),
      at(30),
    );
    expect(reason(made)).toBeUndefined();
  });

  it('goes on when the alarm fires again', () => {
    const made = plan(
      incident({ status: begun([], { alarm: alarm('Firing'), conditions: [condition('Accepted', 'True', 'x')] }) }),
      observed({ blocker }),
      at(30),
    );
    expect(reason(made)).toBeUndefined();
  });
});
