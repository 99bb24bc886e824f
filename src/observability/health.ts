// The health server of a process: /healthz (liveness), /readyz (readiness), /metrics.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { errorMessage } from '../errors.ts';

export interface HealthOptions {
  /** 0 picks a free port. */
  readonly port: number;
  readonly host?: string;
  /** Why the process is not ready; undefined if it is. A thrown error counts as a reason. */
  readonly ready: () => string | undefined | Promise<string | undefined>;
  /** What is wrong although the process is ready; shown in the answers. */
  readonly warning?: () => string | undefined;
  /** Why the process should be restarted; undefined if it is alive. Default: always alive. */
  readonly alive?: () => string | undefined;
  readonly registry: Registry;
  /** Closes the server when it aborts. */
  readonly signal?: AbortSignal;
}

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts the health server. Resolves when it listens. */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const { registry } = options;
  const text = 'text/plain; charset=utf-8';
  function verdict(reason: string | undefined): { status: number; type: string; body: string } {
    const warning = options.warning?.();
    const well = warning === undefined ? 'ok' : `ok, but ${warning}`;
    return { status: reason === undefined ? 200 : 503, type: text, body: `${reason ?? well}\n` };
  }
  async function answer(path: string): Promise<{ status: number; type: string; body: string }> {
    if (path === '/healthz') return verdict(options.alive?.());
    if (path === '/readyz') return verdict(await options.ready());
    if (path === '/metrics') return { status: 200, type: registry.contentType, body: await registry.metrics() };
    return { status: 404, type: text, body: 'not found; the paths are /healthz, /readyz and /metrics\n' };
  }
  const server = createServer((request, response) => {
    request.resume();
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    answer(path)
      .catch((error: unknown) => ({ status: 503, type: text, body: `${errorMessage(error)}\n` }))
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type });
        response.end(body);
      });
  });
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host ?? '0.0.0.0', resolve);
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
    return closed;
  };
  options.signal?.addEventListener('abort', () => void close(), { once: true });
  const address = server.address();
  return { port: isAddressInfo(address) ? address.port : options.port, close };
}

function isAddressInfo(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}
