// Scenario 6: the memory limit is too small, so the kernel repeatedly kills a restarted store.
import { lastPod, patchContainer, readPod, sameIdentity, waitForReason } from './objects.ts';
import type { Scenario } from './scenario.ts';

export const outOfMemory: Scenario = {
  name: 'out-of-memory',
  summary: 'A TiKV pod restarts repeatedly with exit code 137',
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
