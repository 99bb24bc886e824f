// Scenario 9: PD was told to remove a store that is still needed, but the store stays Offline.
import * as z from 'zod';
import { lastPod, sameIdentity } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

const limits = ['region-schedule-limit', 'replica-schedule-limit'] as const;

async function schedulingResumed({ session }: InjectContext) {
  const schedule = await session.get(session.pd('/config/schedule'), z.looseObject({}));
  const seen = limits.map((limit) => ({ limit, value: Number(schedule[limit]) }));
  return {
    name: 'PD may schedule again',
    passing: seen.every(({ value }) => value > 0),
    observed: seen.map(({ limit, value }) => `${limit} ${value}`).join(', '),
  };
}

export const storeStuckOffline: Scenario = {
  name: 'store-stuck-offline',
  summary: 'A store is Offline and keeps its regions',
  set: ['tikv.replicas=4'],
  /**
   * The new store gets part of its share first: PD would remove a store without regions at once,
   * and nothing would be stuck.
   */
  async stage({ session, note }) {
    const { signal } = session.target;
    const victim = await lastPod(session);
    await waitFor({ what: `${victim} to get regions from PD`, withinSeconds: 180, signal, note }, async () => {
      const stores = await storeViews(session);
      const share = stores.reduce((sum, { regions }) => sum + regions, 0) / stores.length;
      const operators = await session.get(session.pd('/operators'), z.array(z.unknown()).nullable());
      const regions = stores.find(({ pod }) => pod === victim)?.regions ?? 0;
      return regions >= share / 4 && (operators ?? []).length === 0 ? true : undefined;
    });
  },
  async inject({ session, note }) {
    const { signal } = session.target;
    const victim = await lastPod(session);
    const stopped = Object.fromEntries(limits.map((limit) => [limit, 0]));
    await session.ask(session.pd('/config'), { method: 'POST', body: JSON.stringify(stopped) });
    const store = (await storeViews(session)).find(({ pod }) => pod === victim);
    await session.ask(session.pd(`/store/${store?.id}`), { method: 'DELETE' });
    await waitFor({ what: `store ${store?.id} to be Offline`, withinSeconds: 60, signal, note }, async () => {
      const now = (await storeViews(session)).find(({ id }) => id === store?.id);
      return now?.state === 'Offline' ? now : undefined;
    });
  },
  after: async (context: InjectContext, before: Before) => [
    await schedulingResumed(context),
    ...(await sameIdentity(context, before)),
  ],
  /** Removes the fourth store in the regular way: PD empties it first. */
  async restore({ session, note }) {
    const { signal } = session.target;
    const victim = await lastPod(session);
    if (!victim.endsWith('-3')) return;
    const store = (await storeViews(session)).find(({ pod }) => pod === victim);
    await session.ask(session.pd(`/store/${store?.id}`), { method: 'DELETE' });
    await waitFor({ what: `store ${store?.id} to be emptied`, withinSeconds: 180, signal, note }, async () =>
      (await storeViews(session)).some(({ id }) => id === store?.id) ? undefined : true,
    );
    await session.kubectl(['scale', 'statefulset', victim.replace(/-3$/, ''), '--replicas=3']);
    await session.kubectl(['wait', '--for=delete', `pod/${victim}`, '--timeout=60s']);
    // Only now: a store that is still running would register again with the removed ID.
    await session.ask(session.pd('/stores/remove-tombstone'), { method: 'DELETE' });
    await session.kubectl(['delete', 'persistentvolumeclaim', `data-${victim}`]);
  },
};
