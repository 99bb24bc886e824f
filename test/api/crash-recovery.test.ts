// The controller is killed at each step of its work, or does not know that another one leads. The
// life cycle must continue.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { STEPS, type Step } from '../../src/controller/incident/steps.ts';
import { NETWORK_POLICIES, PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import { AGENTS, type ApiServer, installSystemNamespace, madeFor, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { Patient } from '../support/incident-probe.ts';
import { type RunningController, startController } from '../support/running-controller.ts';

const MADE = [PODS, SERVICE_ACCOUNTS, NETWORK_POLICIES, ROLE_BINDINGS];

let server: ApiServer;
/** Every pod that was ever created for an attempt, by the Incident's namespace. */
const podsMade = new Map<string, Set<string>>();
const watching = new AbortController();

beforeAll(async () => {
  server = await startApiServer();
  const { resourceVersion } = await server.client.list(PODS, { namespace: AGENTS });
  void (async () => {
    const options = { namespace: AGENTS, resourceVersion, signal: watching.signal, timeoutSeconds: 600 };
    for await (const event of server.client.watch(PODS, options)) {
      if (event.type !== 'added') continue;
      const { labels, uid } = event.object.metadata;
      const namespace = labels?.['oplab.dev/incident-namespace'] ?? '';
      podsMade.set(namespace, (podsMade.get(namespace) ?? new Set()).add(uid ?? ''));
    }
  })().catch(() => undefined);
});
afterAll(async () => {
  watching.abort();
  await server?.stop();
});

/**
 * A controller that stops permanently at a step: it does not clean up and does not release its
 * lease.
 */
async function startDoomed(step: Step): Promise<{ dead: Promise<void>; bury: () => Promise<void> }> {
  const { promise: dead, resolve } = Promise.withResolvers<void>();
  let doomed: RunningController | undefined;
  const checkpoint = async (reached: Step) => {
    if (reached !== step) return;
    doomed?.freeze();
    resolve();
    await new Promise(() => {});
  };
  doomed = await startController(server, { checkpoint, leaseSeconds: 4 });
  return { dead, bury: async () => doomed?.freeze() };
}

describe('a controller that is killed', () => {
  it.each(STEPS.map((step, index) => ({ step, namespace: `killed-${index}` })))(
    'at step $step is replaced by one that continues, and there is never a second pod',
    async ({ step, namespace }) => {
      const sick = await new Patient(server.client, namespace).admit();
      const doomed = await startDoomed(step);
      const incident = await sick.report('broken');
      const early = ['attempt-cleaned', 'incident-cleaned', 'finalizer-removed'].indexOf(step) === -1;
      let next: RunningController | undefined;
      if (early) {
        await doomed.dead;
        next = await startController(server, { leaseSeconds: 4 });
      }
      await incident.podRuns(1);
      await sick.become('good');
      await incident.claim(1, 'Fixed');
      if (!early) {
        if (step !== 'attempt-cleaned') await incident.seal();
        await doomed.dead;
        next = await startController(server, { leaseSeconds: 4 });
        if (step === 'attempt-cleaned') await incident.seal();
      } else await incident.seal();
      const done = await incident.finished();
      expect(done.status).toMatchObject({ phase: 'Resolved', attempts: [{ number: 1, reason: 'Claimed' }] });
      await eventually(async () => (await madeFor(server.client, MADE, namespace)).length === 0, {
        what: 'nothing is left',
      });
      await incident.until('finalizer gone', ({ metadata }) => metadata.finalizers === undefined);
      expect(podsMade.get(namespace)?.size).toBe(1);
      await next?.stop();
    },
    120_000,
  );
});

describe('two controllers that both believe that they lead', () => {
  it('never create two pods for an Incident, and never overwrite each other', async () => {
    // With leases in two namespaces, neither knows about the other.
    await installSystemNamespace(server.client, 'other-system');
    const pair = await Promise.all([
      startController(server),
      startController(server, { systemNamespace: 'other-system' }),
    ]);
    onTestFailed(() => console.log(pair.flatMap((one) => one.log.lines).join('\n')));
    const names = ['rivals-1', 'rivals-2', 'rivals-3', 'rivals-4'];
    await Promise.all(
      names.map(async (namespace) => {
        const sick = await new Patient(server.client, namespace).admit();
        const incident = await sick.report('broken');
        await incident.podRuns(1);
        await sick.become('good');
        await incident.claim(1, 'Fixed');
        await incident.seal();
        const done = await incident.finished();
        expect(done.status).toMatchObject({ phase: 'Resolved', attempts: [{ number: 1, reason: 'Claimed' }] });
        expect(podsMade.get(namespace)?.size).toBe(1);
      }),
    );
    await sleep(500);
    for (const namespace of names) expect(await madeFor(server.client, MADE, namespace)).toEqual([]);
    for (const controller of pair) await controller.stop();
  }, 120_000);
});
