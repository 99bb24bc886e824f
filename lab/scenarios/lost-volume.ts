// Scenario 4: a store lost its volume; PD still knows the old store at the address of the new one.
import { lastPod, readPod, recordBefore, waitForReason } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';

async function storeReplaced({ session }: InjectContext, before: Before) {
  const victim = await lastPod(session);
  const old = before.stores.find((store) => store.pod === victim);
  const now = (await recordBefore(session)).stores.filter((store) => store.pod === victim);
  const tombstones = await session.ask(session.pd('/stores?state=2'));
  return [
    {
      name: 'new store in its place',
      passing: now.length === 1 && now[0]?.state === 'Up' && now[0].id !== old?.id,
      observed: now.map((store) => `store ${store.id} ${store.state}, was ${old?.id}`).join('; ') || 'none',
    },
    {
      name: 'tombstone removed',
      passing: !tombstones.includes(`"id": ${old?.id},`),
      observed: tombstones.includes(`"id": ${old?.id},`) ? `store ${old?.id} is still listed` : 'the tombstone is gone',
    },
  ];
}

export const lostVolume: Scenario = {
  name: 'lost-volume',
  summary: 'A TiKV pod is in CrashLoopBackOff after its volume was replaced',
  after: storeReplaced,
  async inject(context) {
    const { session } = context;
    const victim = await lastPod(session);
    const before = await readPod(session, victim);
    await session.kubectl(['delete', 'persistentvolumeclaim', `data-${victim}`, '--wait=false']);
    await session.kubectl(['delete', 'pod', victim, '--wait=false']);
    await waitForReason(context, victim, before?.metadata.uid, /CrashLoopBackOff/, 180);
  },
};
