// The description of an unconfirmed claim keeps something of every part, whatever their lengths.

import { expect, it } from 'vitest';
import { claim, iso } from '../../../test/support/incident-fixtures.ts';
import { unconfirmedClaim } from './unconfirmed-claim.ts';

const result = (name: string, passing: boolean, observed: string) => ({
  name,
  passing,
  observed,
  observedTime: iso(1),
});

it('describes the claim, the failing checks and the actions', () => {
  const made = unconfirmedClaim({ ...claim(1, 'Fixed'), actions: ['scaled up', 'waited'] }, [
    result('stores', false, 'body.count = 2'),
    result('pods', true, 'all there'),
    result('baseline', false, 'StatefulSet tikv/x is gone'),
  ]);
  expect(made.split('\n')).toEqual([
    'the agent claimed Fixed: did it',
    'but the checks did not hold:',
    'stores: body.count = 2',
    'baseline: StatefulSet tikv/x is gone',
    'cause according to the agent: r',
    'actions: scaled up; waited',
  ]);
});

it('leaves out no failing check and no part of the claim, and fits into status', () => {
  const long = 'x'.repeat(4096);
  const results = Array.from({ length: 17 }, (_, index) => result(`check-${index}`, false, long.slice(0, 2048)));
  const actions = Array.from({ length: 32 }, () => long.slice(0, 1024));
  const made = unconfirmedClaim({ ...claim(1, 'Fixed'), summary: long, rootCause: long, actions }, results);
  expect(made.length).toBeLessThanOrEqual(4096);
  for (const part of [...results.map(({ name }) => `${name}: `), 'cause according to the agent: ', 'actions: ']) {
    expect(made).toContain(part);
  }
});
