// A port-forward of our own: a listener on 127.0.0.1, each of its connections one WebSocket to a pod's port.

import { createServer, type Socket } from 'node:net';
import type { KubeClient } from './client.ts';
import { PODS, pathOf } from './resources.ts';
import { openWebSocket, type WebSocketConnection } from './websocket.ts';

/** One stream of data and one of errors, each message led by its channel's number. */
const PROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const ERROR = 1;

export interface PortForwardTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface PortForward {
  /** The port on 127.0.0.1. */
  readonly localPort: number;
  /** Why the last connection failed, in the words of the API server or the kubelet; undefined when none has. */
  readonly lastError: string | undefined;
  close(): Promise<void>;
}

/** Opens the listener. The pod is asked only when somebody connects. */
export async function openPortForward(
  client: Pick<KubeClient, 'server'>,
  target: PortForwardTarget,
): Promise<PortForward> {
  const path = `${pathOf(PODS, target.namespace, target.pod, 'portforward')}?ports=${target.port}`;
  const connections = new Set<Socket>();
  let lastError: string | undefined;
  const listener = createServer({ pauseOnConnect: true }, (local) => {
    connections.add(local);
    local.on('close', () => connections.delete(local));
    splice(client, path, local).catch((error: unknown) => {
      lastError = error instanceof Error ? error.message : String(error);
      local.destroy();
    });
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

/** Joins a local connection and the pod's port; settles when either side is done. */
function splice(client: Pick<KubeClient, 'server'>, path: string, local: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let remote: WebSocketConnection | undefined;
    let failure = '';
    // The first message of each channel begins with the port's number, two bytes.
    const portSeen = new Set<number>();
    const done = (error?: Error) => {
      remote?.close();
      if (failure !== '') reject(new Error(failure));
      else if (error === undefined) resolve();
      else reject(error);
    };
    local.on('error', (error) => done(error));
    local.on('close', () => done());
    openWebSocket(client.server, path, PROTOCOL, {
      message(data) {
        const channel = data[0] ?? 0;
        const payload = data.subarray(portSeen.has(channel) ? 1 : 3);
        portSeen.add(channel);
        if (payload.length === 0) return;
        if (channel === ERROR) {
          failure += payload.toString('utf8');
          local.destroy();
        } else if (channel === DATA && !local.write(payload)) {
          remote?.pause();
          local.once('drain', () => remote?.resume());
        }
      },
      drained: () => void local.resume(),
      closed(error) {
        if (error === undefined) local.end();
        else local.destroy();
        done(error);
      },
    }).then((opened) => {
      remote = opened;
      if (local.destroyed) {
        opened.close();
        return;
      }
      local.on('data', (chunk) => {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        if (!opened.send(Buffer.concat([Buffer.from([DATA]), bytes]))) local.pause();
      });
      local.resume();
    }, reject);
  });
}
