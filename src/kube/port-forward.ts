// A port-forward: a listener on 127.0.0.1, with one WebSocket to the pod for each connection.

import { createServer, type Socket } from 'node:net';
import { errorMessage } from '../errors.ts';
import { join } from '../net/join.ts';
import type { KubeClient } from './client.ts';
import { PODS, restPath } from './resources.ts';
import { openPortStream } from './websocket.ts';

export interface PortForwardTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface PortForward {
  /** The port on 127.0.0.1. */
  readonly localPort: number;
  /**
   * Why the last connection failed, as the API server or the kubelet reports it; undefined if none
   * failed.
   */
  readonly lastError: string | undefined;
  close(): Promise<void>;
}

/** Opens the listener. It connects to the pod only when a client connects. */
export async function openPortForward(
  client: Pick<KubeClient, 'server'>,
  target: PortForwardTarget,
): Promise<PortForward> {
  const path = `${restPath(PODS, target.namespace, target.pod, 'portforward')}?ports=${target.port}`;
  const connections = new Set<Socket>();
  let lastError: string | undefined;
  const report = (error: unknown) => {
    lastError = errorMessage(error);
  };
  const listener = createServer({ pauseOnConnect: true }, (local) => {
    connections.add(local);
    local.on('close', () => connections.delete(local));
    // A client that hangs up before the connections are joined is not a failure of the
    // port-forward.
    local.on('error', () => local.destroy());
    openPortStream(client.server, path).then(
      (remote) => join(local, remote, { onFailure: report }),
      (error: unknown) => {
        report(error);
        local.destroy();
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', resolve);
  });
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the listener has no port');
  return {
    localPort: address.port,
    get lastError() {
      return lastError;
    },
    close: () =>
      new Promise((resolve) => {
        listener.close(() => resolve());
        for (const connection of connections) connection.destroy();
      }),
  };
}
