// An Incident whose record cannot be trusted ends with its own reason, in whatever state it is.

import { describe, expect, it } from 'vitest';
import {
  at,
  attempt,
  begun,
  claim,
  condition,
  end,
  findReason,
  incident,
  iso,
  lastReason,
  observed,
  sees,
  types,
} from '../../../test/support/incident-fixtures.ts';
import { CONDITIONS } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import { needsObservation, plan } from './plan.ts';

const faults: [string, ReturnType<typeof condition>][] = [
  ['AuditBroken', condition('AuditIntact', 'False', 'AuditBroken', 'set back by two entries')],
  ['UnexplainedWrite', condition('WritesExplained', 'False', 'UnexplainedWrite', 'create pods tikv (entry 7)')],
];
const seen = observed({ observation: { observations: [sees(10, true)], lastObserved: undefined } });
const claimed = attempt(1, { podUID: 'u1', endTime: iso(1), reason: 'Claimed' });

describe.each(faults)('%s', (reason, fault) => {
  const withFault = (status: object, spec: object = {}) =>
    incident({
      spec,
      status: { ...status, conditions: [...(Object(status).conditions ?? []), fault] },
    });

  it('ends the attempt that is running, although its agent claims a repair', () => {
    const given = withFault(begun([attempt(1, { podUID: 'u1' })], { claim: claim(1, 'Fixed') }));
    const made = plan(given, observed(), at(5));
    expect(lastReason(made)).toBe(reason);
    expect(made.status?.attempts?.[0]?.message).toBe(fault.message);
    expect(types(made)).toContain('clean-attempt');
    expect(end(made)).toBeUndefined();
    expect(made.requeueAfterMs).toBe(1);
  });

  it.each<[string, object]>([
    ['after the attempt', begun([attempt(1, { podUID: 'u1', endTime: iso(1), reason: 'ChecksFailed' })])],
    ['while its claim is verified', begun([claimed], { claim: claim(1, 'Fixed') })],
    ['while it waits for an attempt', { conditions: [] }],
  ])('ends the Incident %s, after one more observation for the hand-over', (_, status) => {
    const given = withFault(status);
    expect(needsObservation(given, at(10))).toBe(true);
    expect(end(plan(given, observed(), at(10)))).toBeUndefined();
    const made = plan(given, seen, at(10));
    expect(end(made)).toBe('Escalated');
    expect(findReason(made, 'Finished')).toBe(reason);
    expect(made.status?.message).toContain(fault.message);
    // The gateway owns the condition that says so.
    expect(made.status?.conditions?.map((one) => one.type)).not.toContain(fault.type);
  });

  it('starts nothing in a suspended Incident, which reports its end', () => {
    const made = plan(withFault({ conditions: [] }, { suspend: true }), observed(), at(10));
    expect(types(made)).toEqual([]);
    expect(made.status?.message).toContain(`otherwise it would be Escalated: ${fault.message}`);
  });

  it('does not keep an Incident from being cancelled', () => {
    const made = plan(withFault(begun([attempt(1, { podUID: 'u1' })]), { cancel: true }), observed(), at(5));
    expect(end(made)).toBe('Cancelled');
  });

  it('overrules a decided end, and hands over', () => {
    const given = withFault(
      begun([claimed], {
        claim: claim(1, 'Fixed'),
        audit: { finalHeadHash: 'h' },
        conditions: [
          condition('AuditSealed', 'False', 'SealRequested', 'Resolved'),
          condition('Finished', 'False', 'Verified', 'all checks have held'),
          condition('Verified', 'True', 'ChecksHeld'),
          condition('RepairClaimed', 'True', 'Fixed'),
        ],
      }),
    );
    const made = plan(given, observed({ cleaned: new Set(['incident']) }), at(10));
    expect(made.status).toMatchObject({ phase: 'Escalated', message: `Escalated: ${fault.message}` });
    expect(findCondition(made.status?.conditions, CONDITIONS.Succeeded)).toMatchObject({ status: 'False', reason });
    expect(made.status?.handover?.nextSteps.length).toBeGreaterThan(2);
    expect(made.status?.handover?.nextSteps.at(-1)?.what).toMatch(/outside of the gateway|without a recorded command/);
  });
});

it('does not wait for the seal of a log that the gateway does not seal', () => {
  const [[, fault] = ['', condition('', '', '')]] = faults;
  const status = begun([claimed], {
    conditions: [
      condition('AuditSealed', 'False', 'SealRequested', 'Escalated'),
      condition('Finished', 'False', 'AuditBroken', fault.message),
      fault,
    ],
  });
  const made = plan(incident({ status }), observed({ cleaned: new Set(['incident']) }), at(1));
  expect(findReason(made, 'AuditSealed')).toBe('AuditBroken');
  expect(findReason(made, 'Succeeded')).toBe('AuditBroken');
  expect(made.status?.phase).toBe('Escalated');
});
