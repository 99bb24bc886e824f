// The trial on Docker: a store of a Compose project is stopped, and an agent starts it again.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { output, run } from '../../../hack/child.ts';
import { dockerSocketInNode } from '../../../hack/cluster/kind-config.ts';
import { oplabTag } from '../../../hack/images.ts';
import { OplabError } from '../../../src/errors.ts';
import { installOperator } from '../../operator/install.ts';
import { evaluateObservation, type PatientHealth } from '../../patient/health.ts';
import type { Trial, TrialContext } from '../../trials/trial.ts';
import { ComposeProject, PROJECT } from './compose.ts';
import { NAME, observeProject } from './observe.ts';

const NAMESPACE = 'docker-patient';
const STORE = 'tikv0';

/** The address of this host on the cluster's Docker network. Pods reach ports published there. */
async function hostAddress(signal: AbortSignal): Promise<string> {
  const found = await output(
    'docker',
    ['network', 'inspect', 'kind', '--format', '{{range .IPAM.Config}}{{.Gateway}} {{end}}'],
    {
      signal,
    },
  );
  const address = found.split(' ').find((one) => /^\d+\.\d+\.\d+\.\d+$/.test(one));
  if (address === undefined)
    throw new OplabError('OPLAB_DOCKER_UNAVAILABLE', `the Docker network "kind" has no IPv4 gateway: ${found}`);
  return address;
}

async function openProject({ signal }: TrialContext): Promise<ComposeProject> {
  return new ComposeProject(await hostAddress(signal), signal);
}

async function evaluate(context: TrialContext, soakSeconds: number, withinSeconds: number): Promise<PatientHealth> {
  const project = await openProject(context);
  const giveUp = Date.now() + withinSeconds * 1000;
  let since: number | undefined;
  for (;;) {
    const started = Date.now();
    const health = evaluateObservation(await observeProject(project), NAME);
    since = health.healthy ? (since ?? started) : undefined;
    const open = health.checks.find((check) => !check.passing);
    context.note(open === undefined ? 'healthy' : `${open.name}: ${open.observed}`);
    if (since !== undefined && Date.now() - since >= soakSeconds * 1000) return health;
    if (since === undefined && Date.now() >= giveUp) return health;
    await sleep(2000, undefined, { signal: context.signal });
  }
}

/** The default class, with access to the project's Docker host. */
async function agentClass({ kubeconfig, signal }: TrialContext): Promise<object> {
  const read = await output('kubectl', ['get', 'agentclass', 'default', '-o', 'json'], {
    env: { KUBECONFIG: kubeconfig },
    signal,
  });
  const { spec } = JSON.parse(read);
  return {
    apiVersion: 'oplab.dev/v1alpha1',
    kind: 'AgentClass',
    metadata: { name: 'docker' },
    spec: { ...spec, targetNamespaces: [NAMESPACE], docker: { endpoint: 'local', composeProject: PROJECT } },
  };
}

async function apply({ kubeconfig, signal }: TrialContext, manifest: string): Promise<void> {
  await run('kubectl', ['apply', '-f', '-'], { env: { KUBECONFIG: kubeconfig }, signal, input: manifest });
}

export const dockerStoreStopped: Trial = {
  name: 'docker-store-stopped',
  summary: 'A store of TiKV is disconnected or down',
  outcome: 'Repaired',
  namespace: NAMESPACE,
  agentClassName: 'docker',
  soakSeconds: 5,
  async prepare(context) {
    const { kubeconfig, signal } = context;
    const project = await openProject(context);
    context.note('starting the Compose project');
    await project.up();
    context.note('installing the operator with the docker door');
    await installOperator({
      kubeconfig,
      model: 'rehearsal',
      set: {
        'docker.endpoints[0].name': 'local',
        'docker.endpoints[0].socket': 'true',
        'docker.socket.hostPath': dockerSocketInNode,
      },
      signal,
    });
    await apply(context, JSON.stringify(await agentClass(context)));
    await apply(context, JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }));
    const manifest = await readFile(path.join(import.meta.dirname, 'cluster.yaml'), 'utf8');
    const address = await hostAddress(signal);
    await apply(context, manifest.replaceAll('$' + '{ADDRESS}', address).replaceAll('$' + '{IMAGE}', oplabTag));
    for (const [namespace, deployment] of [
      [NAMESPACE, 'relay'],
      ['oplab-docker', 'oplab-docker-socket'],
    ] as const) {
      await run('kubectl', ['-n', namespace, 'rollout', 'status', `deployment/${deployment}`, '--timeout=120s'], {
        env: { KUBECONFIG: kubeconfig },
        signal,
      });
    }
    const health = await evaluate(context, 0, 240);
    if (health.healthy) return;
    const failing = health.checks.filter(({ passing }) => !passing).map(({ name, observed }) => `${name}: ${observed}`);
    throw new OplabError(
      'OPLAB_PATIENT_UNHEALTHY',
      `the Compose project did not become healthy: ${failing.join('; ')}`,
    );
  },
  async inject(context) {
    const project = await openProject(context);
    await project.docker('stop', STORE);
    for (const until = Date.now() + 90_000; Date.now() < until; ) {
      const { stores } = await observeProject(project);
      const lost =
        'value' in stores &&
        stores.value.stores.some(({ store }) => store.address.startsWith(`${STORE}:`) && store.state_name !== 'Up');
      if (lost) return;
      context.note(`waiting for PD to report ${STORE} as missing`);
      await sleep(1000, undefined, { signal: context.signal });
    }
    throw new OplabError('OPLAB_PATIENT_WAIT', `PD did not report ${STORE} as missing within 90 s`);
  },
  evaluate,
  findings: async () => [],
  checks: async () => {
    const pd = { service: 'pd', port: 2379 };
    return [
      {
        name: 'stores-up',
        http: {
          ...pd,
          path: '/pd/api/v1/stores',
          cel: "body.stores.filter(s, s.store.state_name == 'Up').size() == 3",
        },
      },
      { name: 'no-missing-peers', http: { ...pd, path: '/pd/api/v1/regions/check/miss-peer', cel: 'body.count == 0' } },
    ];
  },
  async restore(context) {
    const { kubeconfig, signal } = context;
    const env = { KUBECONFIG: kubeconfig };
    // Incidents are deleted before their class, which they need until they end.
    await run('kubectl', ['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s'], { env, signal });
    await run('kubectl', ['delete', 'agentclass', 'docker', '--ignore-not-found'], { env, signal });
    await (await openProject(context)).down();
    await installOperator({ kubeconfig, model: 'rehearsal', signal });
  },
};
