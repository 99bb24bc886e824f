// The way to the gateway's read API: a port-forward to its pod.

import * as z from 'zod';
import { GatewayUnreachable } from '../errors.ts';
import { ports } from '../gateway/protocol.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { openPortForward } from '../kube/port-forward.ts';
import { PODS } from '../kube/resources.ts';
import type { GatewayConnection } from './reader/gateway-reader.ts';

const GATEWAY_SELECTOR = 'app.kubernetes.io/name=oplab,app.kubernetes.io/component=gateway';

const podStatus = z.looseObject({
  status: z
    .looseObject({ conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional() })
    .optional(),
});

/** The gateway pod to connect to: prefers a ready pod and skips those being deleted. */
export function chooseGatewayPod(pods: readonly KubeObject[]): KubeObject | undefined {
  const ready = (pod: KubeObject) => {
    const parsed = podStatus.safeParse(pod);
    const conditions = parsed.success ? parsed.data.status?.conditions : undefined;
    return conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;
  };
  const candidates = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  return candidates.find(ready) ?? candidates[0];
}

/** Opens a way to the gateway that runs now. @throws GatewayUnreachable */
export async function forwardToGateway(client: KubeClient, namespace: string): Promise<GatewayConnection> {
  const { items } = await client.list(PODS, { namespace, labelSelector: GATEWAY_SELECTOR });
  const pod = chooseGatewayPod(items);
  if (pod === undefined) {
    throw new GatewayUnreachable(
      `no gateway pod found in namespace ${namespace}; set oplab's namespace with --oplab-namespace, or read a file with --file`,
    );
  }
  const forward = await openPortForward(client, { namespace, pod: pod.metadata.name, port: ports.read });
  return {
    url: `http://127.0.0.1:${forward.localPort}`,
    get lastError() {
      return forward.lastError;
    },
    close: () => forward.close(),
  };
}
