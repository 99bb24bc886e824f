import { describe, expect, it } from 'vitest';
import type { NewEntry } from '../../../audit/entry.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { createLogger } from '../../../observability/logger.ts';
import type { Lease } from '../../leases.ts';
import { readRunbooks } from './runbooks.ts';

const at = (manager: string, time: string) => ({ manager, time });

/** Reads the runbooks of namespaces that each have one. */
async function read(targetNamespaces: string[], runbooks?: 'Always' | 'SingleTarget' | 'Never') {
  const entries: NewEntry[] = [];
  const gateway: object = {
    log: {
      append: async (_: object, entry: NewEntry) => {
        entries.push(entry);
        return { seq: entries.length, hash: '', duplicate: false };
      },
    },
    metrics: { ackSeconds: { observe: () => undefined } },
    attemptTokens: { token: async () => 'token' },
    logger: createLogger('test', { level: 'silent' }),
  };
  const get: KubeClient['get'] = async (_, { namespace }) => ({
    metadata: {
      name: 'oplab-runbook',
      managedFields: [at('helm', '2026-01-01T00:00:00Z'), at('kubectl-edit', '2026-02-01T00:00:00Z')],
    },
    data: { facts: `facts of ${namespace}` },
  });
  const lease: object = { session: 's', attempt: 2, targetNamespaces, class: { runbooks } };
  const given = await readRunbooks(
    gateway as Parameters<typeof readRunbooks>[0],
    { withToken: () => ({ get }) as KubeClient },
    lease as Lease,
  );
  return { given, entries };
}

describe('runbooks', () => {
  it.each([undefined, 'SingleTarget', 'Always'] as const)(
    'are given and recorded with their last writer: %s',
    async (setting) => {
      const { given, entries } = await read(['tikv'], setting);
      expect(given).toEqual([
        {
          namespace: 'tikv',
          text: '## facts\nfacts of tikv',
          writer: 'kubectl-edit',
          writeTime: '2026-02-01T00:00:00Z',
        },
      ]);
      expect(entries).toMatchObject([
        { kind: 'lifecycle', params: { event: 'runbook', writer: 'kubectl-edit', given: true }, blob: given[0]?.text },
      ]);
    },
  );

  it('gives none to an agent with several targets, and says so on record', async () => {
    const { given, entries } = await read(['tikv', 'other']);
    expect(given).toEqual([]);
    expect(entries.map(({ content }) => content)).toEqual([
      expect.stringMatching(/namespace tikv, last written by kubectl-edit at .*: not given to the agent/),
      expect.stringMatching(/namespace other, .*: not given to the agent/),
    ]);
    expect(entries.every((entry) => entry.blob === undefined)).toBe(true);
  });

  it('gives all to an agent with several targets if the class allows it', async () => {
    expect((await read(['tikv', 'other'], 'Always')).given).toHaveLength(2);
  });

  it('gives and reads none if the class says Never', async () => {
    expect(await read(['tikv'], 'Never')).toEqual({ given: [], entries: [] });
  });
});
