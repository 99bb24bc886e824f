// Scenario 2: a key that TiKV does not know has got into tikv.toml, and a store was restarted with it.
import { z } from 'zod';
import type { Scenario } from './scenario.ts';
import { waitFor } from './waiting.ts';

const configMap = z.object({ data: z.object({ 'tikv.toml': z.string() }) });
const pod = z.object({
  metadata: z.object({ uid: z.string() }),
  status: z.object({
    containerStatuses: z
      .array(
        z.object({
          restartCount: z.number(),
          state: z.object({ waiting: z.object({ reason: z.string().optional() }).optional() }),
        }),
      )
      .default([]),
  }),
});

/** The file with a key that is spelled almost right, below the table that the right one belongs to. */
export function withUnknownKey(toml: string): string {
  const key = 'raft-entry-maxsize = "8MiB"';
  return /^\[raftstore\]$/m.test(toml)
    ? toml.replace(/^\[raftstore\]$/m, `[raftstore]\n${key}`)
    : `${toml.trimEnd()}\n[raftstore]\n${key}\n`;
}

export const badConfig: Scenario = {
  name: 'bad-config',
  summary: 'A TiKV pod is in CrashLoopBackOff, its store is disconnected',
  async inject({ session, note }) {
    const { namespace, signal } = session.target;
    const core = `/api/v1/namespaces/${namespace}`;
    const name = `${session.name}-tikv`;
    const { data } = await session.get(`${core}/configmaps/${name}`, configMap);
    await session.kubectl([
      'patch',
      'configmap',
      name,
      '--type=merge',
      `--patch=${JSON.stringify({ data: { 'tikv.toml': withUnknownKey(data['tikv.toml']) } })}`,
    ]);
    const victim = `${name}-0`;
    const before = await session.get(`${core}/pods/${victim}`, pod);
    await session.kubectl(['delete', 'pod', victim, '--wait=false']);
    await waitFor({ what: `${victim} to be in CrashLoopBackOff`, withinSeconds: 120, signal, note }, async () => {
      const now = await session.get(`${core}/pods/${victim}`, pod);
      const container = now.status.containerStatuses[0];
      return now.metadata.uid !== before.metadata.uid && container?.state.waiting?.reason === 'CrashLoopBackOff'
        ? container
        : undefined;
    });
  },
};
