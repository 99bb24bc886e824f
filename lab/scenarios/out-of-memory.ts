// Scenario 6: the memory limit is too small; the kernel kills a restarted store again and again.
import { lastPod, patchContainer, readPod, sameIdentity, waitForReason } from './objects.ts';
import type { Scenario } from './scenario.ts';

export const outOfMemory: Scenario = {
  name: 'out-of-memory',
  summary: 'A TiKV pod restarts again and again with exit code 137',
  soakSeconds: 60,
  after: sameIdentity,
  async inject(context) {
    const { session } = context;
    const victim = await lastPod(session);
    const before = await readPod(session, victim);
    const little = { memory: '18Mi' };
    await patchContainer(session, { resources: { requests: little, limits: little } });
    await waitForReason(context, victim, before?.metadata.uid, /OOMKilled/);
  },
};
