// The plan of an Incident whose end is decided, or that is deleted.

import { describe, expect, it } from 'vitest';
import {
  at,
  attempt,
  begun,
  claim,
  condition,
  findReason,
  incident,
  iso,
  observed,
  running,
  types,
} from '../../../test/support/incident-fixtures.ts';
import { CONDITIONS } from '../../api/incident.ts';
import type { Attempt } from '../../api/incident-status.ts';
import { findCondition } from '../../api/meta.ts';
import { needsObservation, plan } from './plan.ts';
import type { Plan } from './plan-builder.ts';

describe('a decided end', () => {
  const sealing = (more: object = {}, conditions: object[] = []) =>
    incident({
      status: begun([attempt(1, { endTime: iso(1), reason: 'Claimed' })], {
        conditions: [
          condition('AuditSealed', 'False', 'SealRequested', 'Resolved'),
          condition('Finished', 'False', 'Verified', 'all checks have held'),
          ...conditions,
        ],
        ...more,
      }),
    });
  const both = [condition('Verified', 'True', 'ChecksHeld'), condition('RepairClaimed', 'True', 'Fixed')];
  const clean = observed({ cleaned: new Set(['incident']) });
  const succeeded = (made: Plan) => findCondition(made.status?.conditions, CONDITIONS.Succeeded)?.status;

  it('waits for the seal', () => {
    const made = plan(sealing(), clean, at(10));
    expect(made.status).toBeUndefined();
    expect(made.requeueAfterMs).toBe(50_000);
  });

  it('is not Finished before everything is cleaned up', () => {
    const made = plan(sealing({ audit: { finalHeadHash: 'h' } }, both), observed(), at(10));
    expect(types(made)).toEqual(['clean-incident']);
    expect(made.status).toBeUndefined();
  });

  it('finishes with the sealed head, and frees the object', () => {
    const made = plan(sealing({ audit: { finalHeadHash: 'h' } }, both), clean, at(10));
    expect(made.status).toMatchObject({ phase: 'Resolved', finishTime: iso(10), audit: { sealedHeadHash: 'h' } });
    expect(succeeded(made)).toBe('True');
    expect(types(made)).toEqual(['remove-finalizer']);
    expect(made.status?.conditions?.map((one) => one.type)).not.toContain('RepairClaimed');
  });

  it("does not take over the gateway's condition about a broken log", () => {
    const broken = condition('AuditIntact', 'False', 'AuditBroken');
    const made = plan(sealing({ audit: { finalHeadHash: 'h' } }, [...both, broken]), clean, at(10));
    expect(made.status?.conditions?.map((one) => one.type)).not.toContain('AuditIntact');
  });

  it.each([
    ['a claim', both.slice(0, 1)],
    ['verification', both.slice(1)],
  ])('does not succeed without %s', (_what, conditions) => {
    expect(succeeded(plan(sealing({ audit: { finalHeadHash: 'h' } }, conditions), clean, at(10)))).toBe('False');
  });

  it('produces a hand-over when it is Escalated', () => {
    const escalated = sealing({
      audit: { finalHeadHash: 'h' },
      conditions: [
        condition('AuditSealed', 'False', 'SealRequested', 'Escalated'),
        condition('Finished', 'False', 'AgentEscalated', 'the agent cannot fix it'),
      ],
      claim: claim(1, 'CannotFix'),
      verification: [{ name: 'c', passing: false, observed: 'object.x = false', observedTime: iso(9) }],
    });
    const made = plan(escalated, clean, at(10));
    expect(made.status?.handover?.summary).toContain('c: object.x = false');
    expect(made.notes.map((note) => note.reason)).toEqual(['HandedOver', 'Escalated']);
    expect(plan(sealing({ audit: { finalHeadHash: 'h' } }, both), clean, at(10)).status?.handover).toBeUndefined();
  });

  it('finishes without a seal after a minute', () => {
    const made = plan(sealing({}, both), clean, at(60));
    expect(findReason(made, 'AuditSealed')).toBe('GatewayUnavailable');
    expect(made.status?.phase).toBe('Resolved');
  });

  it('cannot be cancelled any more', () => {
    const late = sealing({ audit: { finalHeadHash: 'h' } }, both);
    const made = plan({ ...late, spec: { ...late.spec, cancel: true } }, clean, at(10));
    expect(made.status?.phase).toBe('Resolved');
  });
});

describe('deletion', () => {
  it('cleans up and frees the object, whatever the state', () => {
    const deleting = incident({ status: running, metadata: { deletionTimestamp: iso(1) } });
    const made = plan(deleting, observed(), at(2));
    expect(types(made)).toEqual(['clean-attempt', 'clean-incident', 'remove-finalizer']);
    // The log outlives the Incident and needs the end of the attempt.
    expect(made.status?.attempts?.[0]).toMatchObject({ reason: 'Deleted', endTime: iso(2) });
  });

  it('has nothing to do for a finished Incident', () => {
    const gone = incident({ metadata: { deletionTimestamp: iso(1), finalizers: ['someone.else/finalizer'] } });
    expect(types(plan(gone, observed(), at(2)))).toEqual([]);
  });
});

describe('a touched tripwire', () => {
  const what = 'attempt 1 touched a tripwire: get of Secret tikv/cloud-admin-credentials';
  const touched = (attempts: Attempt[], more: object = {}) =>
    incident({
      status: begun(attempts, {
        conditions: [condition('TripwiresIntact', 'False', 'TripwireTouched', what)],
        ...more,
      }),
    });
  const ended = attempt(1, { endTime: iso(5), reason: 'TripwireTouched', podUID: 'pod' });
  const passing = {
    observations: [{ name: 'c', passing: true, observed: 'x', time: iso(6) }],
    lastObserved: undefined,
  };

  it('ends the attempt at once, whatever its pod does', () => {
    const made = plan(touched([attempt(1, { podUID: 'pod' })]), observed(), at(5));
    expect(made.status?.attempts).toMatchObject([{ reason: 'TripwireTouched', message: what, endTime: iso(5) }]);
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('hands the Incident over, with no other attempt, and says what was touched', () => {
    const made = plan(touched([ended]), observed({ observation: passing }), at(6));
    expect(findCondition(made.status?.conditions, CONDITIONS.Finished)).toMatchObject({
      status: 'False',
      reason: 'TripwireTouched',
      message: what,
    });
    expect(findCondition(made.status?.conditions, CONDITIONS.AuditSealed)?.message).toBe('Escalated');
    expect(needsObservation(touched([ended]), at(6))).toBe(true);
  });

  it('lets no claim of the same attempt count', () => {
    const claimed = touched([attempt(1, { endTime: iso(5), reason: 'Claimed', podUID: 'pod' })], {
      claim: claim(1, 'Fixed'),
    });
    const made = plan(claimed, observed({ observation: passing }), at(60));
    expect(findCondition(made.status?.conditions, CONDITIONS.Finished)?.reason).toBe('TripwireTouched');
  });

  it("does not take over the gateway's condition", () => {
    const made = plan(touched([ended]), observed({ observation: passing }), at(6));
    expect(made.status?.conditions?.map((one) => one.type)).not.toContain('TripwiresIntact');
  });
});
