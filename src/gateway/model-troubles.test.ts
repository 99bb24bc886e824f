// What an Incident says while the calls of its agent's model fail.

import { expect, it } from 'vitest';
import { anIncident } from '../../test/support/an-incident.ts';
import { ModelTroubles, troubleOfEvent, troubleOfStatus } from './model-troubles.ts';

it('says what the agent waits for, since when, and that it is over', () => {
  const changed: string[] = [];
  const troubles = new ModelTroubles((session) => changed.push(session));
  const incident = anIncident();
  const { uid } = incident.metadata;
  expect(troubles.condition(incident)).toBeUndefined();
  troubles.clear(uid);
  expect(changed).toEqual([]);

  troubles.note(uid, troubleOfStatus(529, 'Overloaded'));
  const first = troubles.condition(incident);
  expect(first).toMatchObject({ type: 'ModelAnswers', status: 'False', reason: 'Overloaded' });
  expect(first?.message).toMatch(/^the model API answers 529: Overloaded; 1 call has failed since .*Z, and the agent/);

  troubles.note(uid, troubleOfStatus(429, 'x'.repeat(5000)));
  const second = troubles.condition(incident);
  expect(second).toMatchObject({ reason: 'RateLimited', lastTransitionTime: first?.lastTransitionTime });
  expect(second?.message).toMatch(/; 2 calls have failed since/);
  expect(second?.message.length).toBeLessThan(1200);

  troubles.clear(uid);
  expect(troubles.condition(incident)).toBeUndefined();
  expect(changed).toEqual([uid, uid, uid]);
});

it('says nothing once the attempt has ended', () => {
  const troubles = new ModelTroubles(() => undefined);
  const incident = anIncident();
  const { uid } = incident.metadata;
  troubles.note(uid, troubleOfEvent('overloaded_error', 'busy'));
  expect(troubles.condition(incident)).toMatchObject({ reason: 'Overloaded' });
  const ended = { ...incident, status: { attempts: [{ endTime: '2026-01-01T00:00:00Z' }] } } as typeof incident;
  expect(troubles.condition(ended)).toBeUndefined();
});
