// Scenario 7: PD was scaled to one member, which has no quorum and serves nothing.
import { AskFailed } from '../patient/session.ts';
import { sameIdentity } from './objects.ts';
import type { Scenario } from './scenario.ts';
import { waitFor } from './waiting.ts';

export const pdQuorumLost: Scenario = {
  name: 'pd-quorum-lost',
  summary: 'PD does not respond',
  after: sameIdentity,
  async inject({ session, note }) {
    const { signal } = session.target;
    await session.kubectl(['scale', 'statefulset', `${session.name}-pd`, '--replicas=1']);
    let silent = 0;
    await waitFor({ what: 'PD to stop responding', withinSeconds: 120, signal, note }, async () => {
      try {
        await session.ask(session.pd('/stores'), { timeoutMs: 4000 });
        silent = 0;
      } catch (error) {
        if (!(error instanceof AskFailed)) throw error;
        silent++;
      }
      return silent >= 3 ? silent : undefined;
    });
  },
};
