// Scenario 8: the scheduler that moved all leaders off a store was left behind.
import { OplabError } from '../../src/errors.ts';
import { sameIdentity } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

/** Moves all leaders off the store that has the most. */
export async function evictLeaders({ session, note }: InjectContext): Promise<void> {
  const { signal } = session.target;
  const [store] = (await storeViews(session)).sort((a, b) => b.leaders - a.leaders);
  if (store === undefined) throw new OplabError('OPLAB_INVALID_INPUT', 'PD has no store');
  const body = JSON.stringify({ name: 'evict-leader-scheduler', store_id: store.id });
  await session.ask(session.pd('/schedulers'), { method: 'POST', body });
  await waitFor({ what: `store ${store.id} to lose its leaders`, withinSeconds: 120, signal, note }, async () => {
    const now = (await storeViews(session)).find(({ id }) => id === store.id);
    return now?.leaders === 0 ? now : undefined;
  });
}

/** Checks that every store leads some regions. */
export async function leadersEverywhere({ session }: InjectContext) {
  const stores = await storeViews(session);
  return {
    name: 'leaders on every store',
    passing: stores.every((store) => store.leaders > 0),
    observed: stores.map((store) => `store ${store.id}: ${store.leaders}`).join(', '),
  };
}

export const leftoverEvictLeader: Scenario = {
  name: 'leftover-evict-leader',
  summary: 'A store leads no region',
  inject: evictLeaders,
  after: async (context: InjectContext, before: Before) => [
    await leadersEverywhere(context),
    ...(await sameIdentity(context, before)),
  ],
};
