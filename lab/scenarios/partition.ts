// Scenario 11: a NetworkPolicy isolates one store, and its open connections are closed.
import { run } from '../../hack/child.ts';
import { nodeContainer } from '../../hack/cluster/names.ts';
import { lastPod, readPod, sameIdentity, waitForLostStore } from './objects.ts';
import type { Scenario } from './scenario.ts';

export const partition: Scenario = {
  name: 'partition',
  summary: 'A TiKV pod runs, but its store is disconnected',
  after: sameIdentity,
  async inject(context) {
    const { session } = context;
    const { signal } = session.target;
    const victim = await lastPod(session);
    const policy = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'maintenance-lockdown' },
      spec: {
        podSelector: { matchLabels: { 'statefulset.kubernetes.io/pod-name': victim } },
        policyTypes: ['Ingress', 'Egress'],
      },
    };
    await session.kubectl(['apply', '-f', '-'], { input: JSON.stringify(policy) });
    const found = await readPod(session, victim);
    for (const direction of ['-s', '-d'])
      await run('docker', ['exec', nodeContainer, 'conntrack', '-D', direction, found?.status.podIP ?? ''], {
        signal,
        allowFailure: true,
      });
    await waitForLostStore(context, victim);
  },
};
