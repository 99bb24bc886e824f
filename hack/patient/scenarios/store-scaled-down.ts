// Scenario 1: somebody has scaled TiKV down by one; its store is gone for PD, its data still lies in its claim.
import { z } from 'zod';
import { OplabError } from '../../../src/errors.ts';
import type { Scenario } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

const scale = z.object({ spec: z.object({ replicas: z.number().default(0) }) });

export const storeScaledDown: Scenario = {
  name: 'store-scaled-down',
  summary: 'A TiKV store is disconnected, regions are missing a peer',
  async inject({ session, note }) {
    const set = `${session.name}-tikv`;
    const { namespace, signal } = session.target;
    const { spec } = await session.get(`/apis/apps/v1/namespaces/${namespace}/statefulsets/${set}/scale`, scale);
    if (spec.replicas < 2)
      throw new OplabError('OPLAB_INVALID_INPUT', `${set} has ${spec.replicas} replica(s): none can be taken away`);
    const pod = `${set}-${spec.replicas - 1}`;
    await session.kubectl(['scale', 'statefulset', set, `--replicas=${spec.replicas - 1}`]);
    await waitFor(
      { what: `PD to say that the store of ${pod} is disconnected`, withinSeconds: 90, signal, note },
      async () => {
        const store = (await storeViews(session)).find((item) => item.pod === pod);
        return store?.state === 'Disconnected' || store?.state === 'Down' ? store : undefined;
      },
    );
  },
};
