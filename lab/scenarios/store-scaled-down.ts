// Scenario 1: TiKV was scaled down by one. PD misses the store, whose data is still in its claim.
import { OplabError } from '../../src/errors.ts';
import { readSet, sameIdentity, tikvSet, waitForLostStore } from './objects.ts';
import type { Scenario } from './scenario.ts';

export const storeScaledDown: Scenario = {
  name: 'store-scaled-down',
  summary: 'A TiKV store is disconnected, and regions are missing a peer',
  after: sameIdentity,
  async inject(context) {
    const { session } = context;
    const set = tikvSet(session);
    const { replicas } = await readSet(session, set);
    if (replicas < 2)
      throw new OplabError('OPLAB_INVALID_INPUT', `${set} has ${replicas} replica(s), too few to remove one`);
    await session.kubectl(['scale', 'statefulset', set, `--replicas=${replicas - 1}`]);
    await waitForLostStore(context, `${set}-${replicas - 1}`);
  },
};
