// The pods that an agent was in come from the gateway's records alone, and refused connections are
// none.

import { describe, expect, it } from 'vitest';
import type { Entry } from '../audit/entry.ts';
import { Changes } from './changes.ts';

const intent = (seq: number, params: object, writer: Entry['writer'] = 'gateway') => ({
  ...{ kind: 'kube_intent' as const, writer, seq, attempt: 1, content: '' },
  params: { verb: 'connect', group: '', resource: 'pods', namespace: 'tikv', name: 'pd-0', ...params },
});
const outcome = (intentSeq: number, status: number | null) => ({
  ...{ kind: 'kube_outcome' as const, writer: 'gateway' as const, seq: 100 + intentSeq, attempt: 1, content: '' },
  params: { intentSeq, status },
});
const pods = (...entries: Parameters<Changes['add']>[0][]) => {
  const changes = new Changes();
  for (const entry of entries) changes.add(entry);
  return changes.summary().enteredPods;
};

describe('the pods that were entered', () => {
  it('are those of exec, attach and ephemeral containers', () => {
    expect(
      pods(
        intent(1, { subresource: 'exec' }),
        outcome(1, 101),
        intent(2, { subresource: 'ephemeralcontainers', verb: 'patch' }),
        outcome(2, 200),
        intent(3, { subresource: 'attach', name: 'pd-1' }),
        outcome(3, 101),
        intent(4, { subresource: 'exec' }),
        outcome(4, 101),
      ),
    ).toEqual({
      count: 2,
      last: [
        { namespace: 'tikv', name: 'pd-1', by: ['attach'], seq: 3 },
        { namespace: 'tikv', name: 'pd-0', by: ['exec', 'ephemeralcontainers'], seq: 4 },
      ],
    });
  });

  it('contain one whose connection has no recorded end', () => {
    expect(pods(intent(1, { subresource: 'exec' }))?.count).toBe(1);
    expect(pods(intent(1, { subresource: 'exec' }), outcome(1, null))?.count).toBe(1);
  });

  it.each<[string, object, number]>([
    ['a refused one', { subresource: 'exec' }, 403],
    ['a port-forward', { subresource: 'portforward' }, 101],
    ['a dry run', { subresource: 'ephemeralcontainers', verb: 'patch', dryRun: true }, 200],
    ['a read of ephemeral containers', { subresource: 'ephemeralcontainers', verb: 'get' }, 200],
    ['a change of the pod', { subresource: undefined, verb: 'patch' }, 200],
    ['another resource of that name', { subresource: 'exec', group: 'example.com' }, 101],
  ])('do not contain %s', (_what, params, status) => {
    expect(pods(intent(1, params), outcome(1, status))).toBeUndefined();
  });

  it('do not depend on what the agent says', () => {
    expect(pods(intent(1, { subresource: 'exec' }, 'agent'))).toBeUndefined();
  });

  it('are bounded, the latest last', () => {
    const found = pods(
      ...Array.from({ length: 100 }, (_, index) => intent(index + 1, { subresource: 'exec', name: `p-${index}` })),
    );
    expect(found?.count).toBe(100);
    expect(found?.last).toHaveLength(32);
    expect(found?.last.at(-1)?.name).toBe('p-99');
  });
});
