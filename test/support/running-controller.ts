// A controller in the test's own process that can be stopped, or cut off as by SIGKILL.

import { Controller, type ControllerOptions } from '../../src/controller/controller.ts';
import type { Installation } from '../../src/controller/installation.ts';
import { type Seams, systemSeams } from '../../src/controller/seams.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import type { Log } from '../../src/kube/log.ts';
import { AGENTS, type ApiServer, SYSTEM } from './api-server.ts';
import { eventually } from './eventually.ts';

/** Warnings and errors of a controller, which a failed test prints. */
export function recordingLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const write = (level: string) => (details: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(details)}`);
  };
  return { lines, debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') };
}

/** A controller in this process. */
export interface RunningController {
  readonly controller: Controller;
  readonly log: ReturnType<typeof recordingLog>;
  /** Shuts it down gracefully. */
  stop(): Promise<void>;
  /** Acts like SIGKILL: no further call reaches the API server, and the lease is not released. */
  freeze(): void;
}

/** A client that can be cut off from the API server permanently. */
export function cuttable(client: KubeClient): { client: KubeClient; cut: () => void } {
  let isCut = false;
  const guarded = (inner: KubeClient): KubeClient =>
    new Proxy(inner, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property);
        if (property === 'withToken') {
          return (...token: Parameters<KubeClient['withToken']>) => guarded(target.withToken(...token));
        }
        if (typeof value !== 'function') return value;
        return (...parameters: unknown[]) => (isCut ? new Promise(() => {}) : value.apply(target, parameters));
      },
    });
  return {
    client: guarded(client),
    cut: () => {
      isCut = true;
    },
  };
}

let started = 0;

/** Starts a controller and waits until it leads. */
export async function startController(
  server: ApiServer,
  options: Partial<ControllerOptions & Installation & Seams> = {},
): Promise<RunningController> {
  const log = recordingLog();
  started += 1;
  const { client, cut } = cuttable(createKubeClient({ kubeconfig: server.kubeconfig }));
  const installation = { agentsNamespace: AGENTS, systemNamespace: SYSTEM, ...options };
  const controller = new Controller(
    { client, installation, identity: `test-${started}`, log, leaseSeconds: 6, ...options },
    { ...systemSeams, ...options },
  );
  const stop = new AbortController();
  const running = controller.run(stop.signal);
  running.catch((error: unknown) => log.lines.push(`ended: ${error}`));
  await eventually(async () => controller.isLeading, { what: 'leadership' });
  return {
    controller,
    log,
    async stop() {
      stop.abort();
      await running.catch(() => undefined);
    },
    freeze: cut,
  };
}
