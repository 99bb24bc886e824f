// Scenario 12: TiKV got a CPU limit of a fiftieth of a core; transactions take ten times as long, stores come and go.
import { z } from 'zod';
import { patchContainer, sameIdentity } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

const ledger = z.object({ p99Milliseconds: z.number() });
const limitMs = 100;

async function latency({ session, note }: InjectContext) {
  const { signal } = session.target;
  let last = Number.NaN;
  // The load's number looks back 30 s: the repair itself is still in it.
  const good = await waitFor({ what: 'the latency to be normal', withinSeconds: 60, signal, note }, async () => {
    last = (await session.get(session.service('load', '/ledger'), ledger)).p99Milliseconds;
    return last < limitMs ? last : undefined;
  }).catch(() => undefined);
  return { name: 'P99 normal', passing: good !== undefined, observed: `${last.toFixed(0)} ms, limit ${limitMs} ms` };
}

export const cpuThrottled: Scenario = {
  name: 'cpu-throttled',
  summary: 'Transactions are slow, stores come and go',
  async inject({ session, note }) {
    const { signal } = session.target;
    await patchContainer(session, { resources: { requests: { cpu: '10m' }, limits: { cpu: '20m' } } });
    await waitFor(
      { what: 'transactions to be slow or a store to be lost', withinSeconds: 180, signal, note },
      async () => {
        const { p99Milliseconds } = await session.get(session.service('load', '/ledger'), ledger);
        const lost = (await storeViews(session)).some((store) => store.state === 'Disconnected');
        return p99Milliseconds > 3 * limitMs || lost ? true : undefined;
      },
    );
  },
  after: async (context: InjectContext, before: Before) => [
    await latency(context),
    ...(await sameIdentity(context, before)),
  ],
};
