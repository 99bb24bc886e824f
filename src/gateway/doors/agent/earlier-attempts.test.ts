import { expect, it } from 'vitest';
import type { Entry } from '../../../audit/entry.ts';
import { readEarlierAttempts } from './earlier-attempts.ts';

function entry(seq: number, fields: Partial<Entry>): Entry {
  return {
    ...{
      session: 's',
      seq,
      time: '',
      attempt: 1,
      writer: 'agent',
      clientKey: `1-${seq}`,
      kind: 'tool_call',
      tool: 'shell',
    },
    ...{ params: null, exitCode: null, durationMs: null, content: '', blobDigest: null, prevHash: '', hash: '' },
    ...fields,
  };
}
const call = (seq: number, command: string, more: Partial<Entry> = {}) => entry(seq, { params: { command }, ...more });
const result = (seq: number, of: string, fields: Partial<Entry>) =>
  entry(seq, { kind: 'tool_result', params: { call: of }, ...fields });
const read = (entries: Entry[], attempt = 2) =>
  readEarlierAttempts({ read: async (_, { afterSeq = 0 } = {}) => entries.slice(afterSeq) }, 's', attempt);

it('tells what ran and what came of it, in the words of the log', async () => {
  const found = await read([
    call(1, 'kubectl get pods\n  -A'),
    result(2, '1-1', { exitCode: 0, content: 'cut text' }),
    entry(3, {
      kind: 'lifecycle',
      params: { step: 'summary', result: 2 },
      content: 'two pods wait',
      clientKey: '1-1-summary',
    }),
    call(4, 'helm rollback\u202e x'),
    result(5, '1-4', { params: { call: '1-4', indeterminate: true }, content: 'its outcome is not known' }),
    call(6, 'kubectl apply -f x'),
    call(7, 'of this attempt', { attempt: 2, clientKey: '2-1' }),
    result(8, '1-6', { exitCode: 1, content: 'of this attempt', attempt: 2 }),
    call(9, 'forged by the sandbox', { writer: 'sandbox' }),
  ]);
  expect([...found.keys()]).toEqual([1]);
  const [first, second, third, ...others] = found.get(1)?.commands ?? [];
  expect(first).toBe('$ kubectl get pods -A\n  exit code 0: two pods wait');
  expect(second).toMatch(/^\$ helm rollback.* x\n {2}its outcome is not known$/);
  expect(second).not.toContain('\u202e');
  expect(third).toBe('$ kubectl apply -f x\n  no result on record: its outcome is not known');
  expect(others).toEqual([]);
});

it('tells each write with its answer, and what was claimed', async () => {
  const gateway = { writer: 'gateway' } as const;
  const intent = (seq: number, content: string) =>
    entry(seq, { ...gateway, kind: 'kube_intent', params: { verb: 'patch' }, content });
  const found = await read([
    intent(1, 'patch deployments x/y'),
    entry(2, { ...gateway, kind: 'kube_outcome', params: { intentSeq: 1, status: 403 } }),
    intent(3, 'delete pods x/z'),
    entry(4, {
      ...gateway,
      kind: 'lifecycle',
      params: { event: 'claim', rootCause: 'a typo' },
      content: 'the agent claims Fixed: done',
    }),
    entry(5, { kind: 'lifecycle', params: { event: 'claim' }, content: 'of the agent itself' }),
  ]);
  expect(found.get(1)).toEqual({
    commands: [],
    writes: ['patch deployments x/y: 403', 'delete pods x/z: no answer on record'],
    claim: 'Fixed: done\nroot cause: a typo',
  });
  expect((await read([intent(1, 'patch x')], 1)).size).toBe(0);
});

it('is short, however much there was', async () => {
  const entries = Array.from({ length: 999 }, (_, index) =>
    index % 2 === 0
      ? call(index + 1, `${index} ${'x'.repeat(5000)}`)
      : result(index + 1, `1-${index}`, { exitCode: 0, content: 'y'.repeat(5000) }),
  );
  const lines = (await read(entries)).get(1)?.commands ?? [];
  expect(lines).toHaveLength(30);
  expect(lines.at(-1)).toMatch(/^\$ 998 x/);
  expect(lines.join('').length).toBeLessThan(20_000);
});
