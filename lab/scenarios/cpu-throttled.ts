// Scenario 12: TiKV has a CPU limit of a fiftieth of a core, so stores are lost from time to time.
import { p99, patchContainer, sameIdentity } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

const limitMs = 100;
/** Up to twice the latency from before is normal: the machine may be busy with other work. */
const normal = (before: number) => Math.max(limitMs, 2 * before);

async function latency({ session, note }: InjectContext, before: Before) {
  const { signal } = session.target;
  const limit = normal(before.p99Milliseconds);
  let last = Number.NaN;
  // The load's latency covers the last 30 s, so it still includes the repair.
  const good = await waitFor({ what: 'the latency to be normal', withinSeconds: 60, signal, note }, async () => {
    last = await p99(session);
    return last < limit ? last : undefined;
  }).catch(() => undefined);
  const observed = `${last.toFixed(0)} ms, before ${before.p99Milliseconds.toFixed(0)} ms, limit ${limit.toFixed(0)} ms`;
  return { name: 'P99 normal', passing: good !== undefined, observed };
}

export const cpuThrottled: Scenario = {
  name: 'cpu-throttled',
  summary: 'Transactions are slow, and stores disconnect from time to time',
  async inject({ session, note }) {
    const { signal } = session.target;
    const before = await p99(session);
    await patchContainer(session, { resources: { requests: { cpu: '10m' }, limits: { cpu: '20m' } } });
    await waitFor(
      { what: 'transactions to be slow or a store to be lost', withinSeconds: 180, signal, note },
      async () => {
        const now = await p99(session);
        const lost = (await storeViews(session)).some((store) => store.state === 'Disconnected');
        return now > 3 * normal(before) || lost ? true : undefined;
      },
    );
  },
  after: async (context: InjectContext, before: Before) => [
    await latency(context, before),
    ...(await sameIdentity(context, before)),
  ],
};
