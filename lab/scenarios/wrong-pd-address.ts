// Scenario 3: TiKV has a wrong PD address, so the first restarted store does not come back.
import { lastPod, patchContainer, readPod, readSet, sameIdentity, tikvSet, waitForLostStore } from './objects.ts';
import type { Scenario } from './scenario.ts';
import { waitFor } from './waiting.ts';

export const wrongPdAddress: Scenario = {
  name: 'wrong-pd-address',
  summary: 'A TiKV pod runs but does not become ready, and its store is disconnected',
  after: sameIdentity,
  async inject(context) {
    const { session, note } = context;
    const { signal } = session.target;
    const victim = await lastPod(session);
    const before = await readPod(session, victim);
    const { container } = await readSet(session, tikvSet(session));
    const args = container.args.map((arg) =>
      arg.startsWith('--pd-endpoints=') ? `--pd-endpoints=${session.name}-pd-old:2379` : arg,
    );
    await patchContainer(session, { args });
    await waitFor({ what: `${victim} to run without being ready`, withinSeconds: 90, signal, note }, async () => {
      const found = await readPod(session, victim);
      const isNew = found !== undefined && found.metadata.uid !== before?.metadata.uid;
      return isNew && found.status.phase === 'Running' && found.status.containerStatuses[0]?.ready === false
        ? found
        : undefined;
    });
    await waitForLostStore(context, victim);
  },
};
