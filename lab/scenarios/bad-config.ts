// Scenario 2: tikv.toml has a key that TiKV does not know, and a store was restarted with it.
import * as z from 'zod';
import { readPod, sameIdentity, tikvSet, waitForReason } from './objects.ts';
import type { InjectContext, Scenario } from './scenario.ts';

const configMap = z.object({ data: z.object({ 'tikv.toml': z.string() }) });
/** The file with a misspelled key, in the table that the correct key belongs to. */
export function withUnknownKey(toml: string): string {
  const key = 'raft-entry-maxsize = "8MiB"';
  return /^\[raftstore\]$/m.test(toml)
    ? toml.replace(/^\[raftstore\]$/m, `[raftstore]\n${key}`)
    : `${toml.trimEnd()}\n[raftstore]\n${key}\n`;
}

/** Replaces tikv.toml and restarts a store, which then reads the new file. */
export async function restartWith(context: InjectContext, change: (toml: string) => string): Promise<void> {
  const { session } = context;
  const name = tikvSet(session);
  const { data } = await session.get(`/api/v1/namespaces/${session.target.namespace}/configmaps/${name}`, configMap);
  const patch = JSON.stringify({ data: { 'tikv.toml': change(data['tikv.toml']) } });
  await session.kubectl(['patch', 'configmap', name, '--type=merge', `--patch=${patch}`]);
  const victim = `${name}-0`;
  const before = await readPod(session, victim);
  await session.kubectl(['delete', 'pod', victim, '--wait=false']);
  await waitForReason(context, victim, before?.metadata.uid, /CrashLoopBackOff/);
}

export const badConfig: Scenario = {
  name: 'bad-config',
  summary: 'A TiKV pod is in CrashLoopBackOff, and its store is disconnected',
  after: sameIdentity,
  inject: (context) => restartWith(context, withUnknownKey),
};
