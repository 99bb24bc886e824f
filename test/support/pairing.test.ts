// The comparison of the two logs fails for each kind of difference, on either side.

import { describe, expect, it } from 'vitest';
import type { Entry } from '../../src/audit/entry.ts';
import { AGENTS_GROUP } from './agents-group.ts';
import { type AuditEvent, pairRequests, parseAuditLog } from './pairing.ts';

const ID = 'oplab-entry-1';
const event = (more: Partial<AuditEvent> = {}): AuditEvent => ({
  auditID: ID,
  stage: 'ResponseComplete',
  requestURI: '/api/v1/namespaces/tikv/configmaps',
  verb: 'create',
  user: { username: 'system:serviceaccount:oplab-agents:a', groups: ['system:serviceaccounts', AGENTS_GROUP] },
  userAgent: 'kubectl',
  objectRef: { resource: 'configmaps', namespace: 'tikv', name: 'x' },
  responseStatus: { code: 201 },
  requestReceivedTimestamp: '2026-01-01T00:00:01.000000Z',
  ...more,
});
const entry = (seq: number, kind: Entry['kind'], params: object, more: Partial<Entry> = {}): Entry => ({
  ...{ session: 's', seq, time: '2026-01-01T00:00:01.000Z', attempt: 1, writer: 'gateway', clientKey: `${seq}` },
  ...{ kind, tool: 'kube', exitCode: null, durationMs: null, content: 'create configmaps tikv', blobDigest: null },
  ...{ prevHash: '', hash: '', params: { ...params } },
  ...more,
});
const wanted = { verb: 'create', group: '', version: 'v1', resource: 'configmaps', namespace: 'tikv' };
const intent = (more: object = {}) => entry(1, 'kube_intent', { ...wanted, auditID: ID, ...more });
const outcome = (more: object = {}) => entry(2, 'kube_outcome', { ...wanted, intentSeq: 1, status: 201, ...more });

it('finds nothing in two logs that say the same', () => {
  expect(pairRequests([event()], [intent(), outcome()])).toEqual({ pairs: 1, faults: [] });
});

it('takes the stages of one request together', () => {
  const stages = [event({ stage: 'ResponseStarted', responseStatus: { code: 101 } }), event()];
  expect(pairRequests(stages, [intent(), outcome({ status: 101 })])).toEqual({ pairs: 1, faults: [] });
});

describe('a fault is', () => {
  it.each<[string, AuditEvent[], Entry[], RegExp]>([
    ['a write that only the API server has', [event()], [], /^only the API server has create .*oplab-entry-1$/],
    [
      'a write with an Audit-ID of somebody else',
      [event({ auditID: 'x' })],
      [intent(), outcome()],
      /only the API server/,
    ],
    ['a write that only the gateway has', [], [intent(), outcome()], /^only the gateway has entry 1 of s: .*: 201$/],
    ['a refusal that only the gateway has', [], [intent(), outcome({ status: 422 })], /only the gateway/],
    ['a write without outcome', [event()], [intent()], /no outcome/],
    ['a write without outcome that is only here', [], [intent()], /no outcome/],
    ['another status', [event()], [intent(), outcome({ status: 409 })], /status 409 instead of 201/],
    ['another verb', [event()], [intent({ verb: 'patch' }), outcome()], /verb patch instead of create/],
    ['another resource', [event()], [intent({ resource: 'secrets' }), outcome()], /resource/],
    ['another group', [event()], [intent({ group: 'apps' }), outcome()], /group/],
    ['another namespace', [event()], [intent({ namespace: 'other' }), outcome()], /namespace/],
    ['another name', [event()], [intent({ name: 'y' }), outcome()], /name y instead of x/],
    ['another subresource', [event()], [intent({ subresource: 'status' }), outcome()], /subresource/],
    ['a request that was sent twice', [event(), event()], [intent(), outcome()], /more than once/],
    ['two entries of one request', [event()], [intent(), outcome(), { ...intent(), seq: 3 }], /two entries/],
    [
      'a write that claims to be a question',
      [event({ auditID: 'oplab-review-1' }), event({ auditID: 'oplab-gateway-1' })],
      [],
      /only the API server/,
    ],
    [
      'a question that did not come from the gateway',
      [event({ objectRef: { resource: 'selfsubjectaccessreviews', apiGroup: 'authorization.k8s.io' } })],
      [],
      /only the API server/,
    ],
    [
      'an entry that the agent wrote',
      [event()],
      [intent(), outcome()].map((one) => ({ ...one, writer: 'agent' as const })),
      /only the API server/,
    ],
    [
      'another path',
      [event({ requestURI: '/logs/x', objectRef: {} })],
      [intent({ resource: undefined, path: '/logs/y' }), outcome()],
      /path/,
    ],
  ])('%s', (_, events, entries, fault) => {
    expect(pairRequests(events, entries).faults.join('\n')).toMatch(fault);
  });
});

describe('no fault is', () => {
  it.each<[string, AuditEvent[], Entry[]]>([
    ['a write of somebody else', [event({ user: { username: 'admin', groups: ['system:masters'] } })], []],
    [
      'a question of the gateway',
      [
        event({
          auditID: 'oplab-gateway-1',
          objectRef: { resource: 'selfsubjectaccessreviews', apiGroup: 'authorization.k8s.io' },
        }),
      ],
      [],
    ],
    ['a write that got no answer, and may not have been sent', [], [intent(), outcome({ status: null })]],
    ['a write that got no answer, but was done', [event()], [intent(), outcome({ status: null })]],
    ['a write that the gateway refused', [], [entry(1, 'kube_intent', wanted), outcome({ status: 403 })]],
    ['a token that has expired', [], [intent(), outcome({ status: 401 })]],
    [
      'a read of a Secret, which has no outcome',
      [event({ verb: 'list', objectRef: { resource: 'secrets', namespace: 'tikv' }, responseStatus: { code: 200 } })],
      [intent({ verb: 'list', resource: 'secrets' })],
    ],
    [
      'a connection, whatever its method',
      [
        event({
          verb: 'get',
          objectRef: { resource: 'pods', namespace: 'tikv', name: 'p', subresource: 'exec' },
          responseStatus: { code: 101 },
        }),
      ],
      [intent({ verb: 'connect', resource: 'pods', name: 'p', subresource: 'exec' }), outcome({ status: 101 })],
    ],
  ])('%s', (_, events, entries) => {
    expect(pairRequests(events, entries).faults).toEqual([]);
  });

  it('what the test itself sent, or what is older than the test', () => {
    expect(pairRequests([event()], [], { own: new Set([ID]) }).faults).toEqual([]);
    expect(pairRequests([event()], [], { since: new Date('2026-01-01T00:00:02.000Z') }).faults).toEqual([]);
    expect(pairRequests([], [intent(), outcome()], { since: new Date('2026-01-01T00:00:02.000Z') }).faults).toEqual([]);
    expect(pairRequests([event()], [], { since: new Date('2026-01-01T00:00:01.000Z') }).faults).toHaveLength(1);
  });
});

it('reads the lines of the log as the API server writes them', () => {
  const line = JSON.stringify({
    ...{ kind: 'Event', apiVersion: 'audit.k8s.io/v1', level: 'Metadata', auditID: 'a', stage: 'ResponseComplete' },
    ...{ requestURI: '/version', verb: 'get', user: { username: 'u' }, sourceIPs: ['10.0.0.1'] },
    ...{ requestReceivedTimestamp: '2026-01-01T00:00:00.000000Z', stageTimestamp: '2026-01-01T00:00:00.000001Z' },
  });
  expect(parseAuditLog([line])).toMatchObject([{ auditID: 'a', user: { username: 'u', groups: [] } }]);
  expect(() => parseAuditLog(['{}'])).toThrow();
});
