// Whether an Incident is accepted: the plan of a refused one ends it before any cost arises.

import { describe, expect, it } from 'vitest';
import { agentClass, at, end, findReason, incident, observed, types } from '../../../test/support/incident-fixtures.ts';
import { plan } from './plan.ts';

describe('a new Incident', () => {
  it('waits for a class that does not exist', () => {
    const made = plan(incident(), observed({ agentClass: undefined }), at(0));
    expect(made.status).toMatchObject({ phase: 'Pending' });
    expect(findReason(made, 'Accepted')).toBe('ClassNotFound');
    expect(findReason(made, 'Stalled')).toBe('ClassNotFound');
    expect(types(made)).toEqual([]);
  });

  it.each([
    ['its own namespace', { incidentNamespaces: ['other'] }],
    ['a target', { targetNamespaces: ['other'] }],
  ])('fails when the class does not allow %s', (_what, spec) => {
    const narrow = { ...agentClass, spec: { ...agentClass.spec, ...spec } };
    const made = plan(incident(), observed({ agentClass: narrow }), at(0));
    expect(end(made)).toBe('Failed');
    expect(findReason(made, 'Finished')).toBe('NamespaceNotAllowed');
  });

  it.each([
    ['a namespace of oplab itself', { spec: { targetNamespaces: ['tikv', 'oplab-agents'] } }],
    ['one by default', { metadata: { namespace: 'oplab-agents' } }],
  ])('fails when it targets %s, though its class allows every namespace', (_what, parts) => {
    expect(agentClass.spec.targetNamespaces).toEqual(['*']);
    const made = plan(incident(parts), observed(), at(0));
    expect(end(made)).toBe('Failed');
    expect(findReason(made, 'Finished')).toBe('NamespaceNotAllowed');
    expect(made.status?.message).toContain('no agent may work in oplab-agents, which belongs to oplab');
    expect(types(made)).not.toContain('prepare-attempt');
    expect(end(plan(incident(parts), observed({ agentClass: undefined }), at(0)))).toBe('Failed');
  });

  it('fails when the CEL of a check does not parse', () => {
    const made = plan(incident(), observed({ syntaxErrors: new Map([['c', '1:3: found end']]) }), at(0));
    expect(end(made)).toBe('Failed');
    expect(made.status?.message).toContain('check c: cel: 1:3: found end');
  });

  it('fails when its soak does not fit into the time limit of its class', () => {
    const verify = { soakSeconds: 900, checks: incident().spec.verify.checks };
    const made = plan(incident({ spec: { verify } }), observed(), at(0));
    expect(end(made)).toBe('Failed');
    expect(findReason(made, 'Finished')).toBe('SoakTooLong');
    expect(made.status?.message).toContain('verify.soakSeconds: 900 s must be less than the time limit of 900 s');
    expect(types(made)).not.toContain('prepare-attempt');
    const shorter = plan(incident({ spec: { verify: { ...verify, soakSeconds: 899 } } }), observed(), at(0));
    expect(types(shorter)).toContain('prepare-attempt');
  });
});
