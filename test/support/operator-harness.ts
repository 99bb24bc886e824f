// An operator on the live cluster that uses a scripted model outside the cluster, and works on a
// separate namespace.

import { randomBytes } from 'node:crypto';
import { run } from '../../hack/child.ts';
import { installOperator } from '../../lab/index.ts';
import type { Incident } from '../../src/api/incident.ts';
import { eventually } from './eventually.ts';
import { apply, finished, KUBECONFIG, kubectl, tryKubectl } from './live.ts';
import { type ScriptedModel, startScriptedModel } from './scripted-model.ts';

/** Always the same port, so that only the first harness of a run has to reinstall the operator. */
const MODEL_PORT = 18_998;
const SANDBOX_IMAGE = 'oplab.dev/oplab-sandbox:dev';

export interface OperatorHarness {
  readonly model: ScriptedModel;
  readonly namespace: string;
  /**
   * The gateway's key for the scripted model. It is shaped like the vendor's keys, but worthless.
   */
  readonly modelKey: string;
  /**
   * Applies an Incident about the harness's namespace. Its check passes once ConfigMap `patient`
   * has state=well.
   */
  open(name: string, spec?: Record<string, unknown>): Promise<void>;
  /** Installs the operator again with other values of the chart, besides those of the harness. */
  reinstall(set: Readonly<Record<string, string>>): Promise<void>;
  finished(name: string, seconds?: number): Promise<Incident>;
  /** Waits until the agent pod of the Incident exists, and returns its name. */
  agentPod(name: string): Promise<string>;
  close(): Promise<void>;
}

/**
 * The key of an earlier harness, if there is one. The kubelet takes up to a minute and a half to
 * bring a new one into a gateway that is running.
 */
async function readModelKey(): Promise<string> {
  const known = await tryKubectl(
    '-n',
    'oplab-system',
    'get',
    'secret',
    'lab-model-key',
    '-o',
    'jsonpath={.data.api-key}',
  );
  if (known.code === 0 && known.stdout !== '') return Buffer.from(known.stdout, 'base64').toString('utf8');
  return `sk-ant-lab-${randomBytes(24).toString('hex')}`;
}

/** The address of the Docker host for pods: the gateway of kind's network. */
export async function dockerHost(): Promise<string> {
  const networks = await run('docker', [
    'network',
    'inspect',
    'kind',
    '-f',
    '{{range .IPAM.Config}}{{.Gateway}} {{end}}',
  ]);
  const address = networks.stdout.split(/\s+/).find((candidate) => /^\d+\.\d+\.\d+\.\d+$/.test(candidate));
  if (address === undefined) throw new Error(`docker's network "kind" has no IPv4 gateway: ${networks.stdout}`);
  return address;
}

/** @param set more values of the chart */
export async function openOperatorHarness(set: Readonly<Record<string, string>> = {}): Promise<OperatorHarness> {
  const namespace = `lab-${randomBytes(3).toString('hex')}`;
  const modelKey = await readModelKey();
  const model = await startScriptedModel({ host: '0.0.0.0', port: MODEL_PORT });
  // Another test may have deleted it, as the documentation tells users to.
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'oplab-system' } });
  await apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'lab-model-key', namespace: 'oplab-system' },
    stringData: { 'api-key': modelKey },
  });
  const modelURL = `http://${await dockerHost()}:${model.port}`;
  const install = (more: Readonly<Record<string, string>>) =>
    installOperator({
      kubeconfig: KUBECONFIG,
      model: 'rehearsal',
      set: {
        'rehearsal.enabled': 'false',
        'model.baseURL': modelURL,
        'model.apiKey.existingSecret': 'lab-model-key',
        'model.prices.scripted-1.input': '1',
        'model.prices.scripted-1.output': '1',
        'agentClass.model': 'scripted-1',
        'agentClass.summaryModel': 'scripted-1',
        ...more,
      },
      signal: AbortSignal.timeout(300_000),
    });
  await install(set);
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  await apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'patient', namespace },
    data: { state: 'ill' },
  });
  await apply(pod('patient', namespace, ['sleep', '3600']));
  await kubectl('-n', namespace, 'wait', '--for=condition=Ready', 'pod/patient', '--timeout=60s');

  const open = async (name: string, spec: Record<string, unknown> = {}) => {
    const check = {
      name: 'well',
      kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: "object.data.state == 'well'" },
    };
    await apply({
      apiVersion: 'oplab.dev/v1alpha1',
      kind: 'Incident',
      metadata: { name, namespace },
      spec: { summary: 'the patient of the lab is ill', verify: { soakSeconds: 3, checks: [check] }, ...spec },
    });
  };
  return {
    model,
    namespace,
    modelKey,
    open,
    reinstall: install,
    finished: (name, seconds = 180) => finished(namespace, name, seconds),
    agentPod: (name) =>
      eventually(
        async () => {
          const names = await kubectl(
            '-n',
            'oplab-agents',
            'get',
            'pods',
            '-l',
            `oplab.dev/incident-name=${name}`,
            '-o',
            'name',
          );
          return names === '' ? undefined : names.split('\n')[0]?.replace('pod/', '');
        },
        { what: `the agent pod of ${name}`, withinMs: 60_000, everyMs: 500 },
      ),
    close: async () => {
      await tryKubectl('-n', namespace, 'delete', 'incidents', '--all', '--timeout=60s');
      await tryKubectl('delete', 'namespace', namespace, '--wait=false');
      await model.close();
    },
  };
}

/** A pod with the sandbox image, for what tests need inside the cluster. */
export const pod = (
  name: string,
  namespace: string,
  command: string[],
  labels: Record<string, string> = { app: name },
) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels },
  spec: {
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'main',
        image: SANDBOX_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command,
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      },
    ],
  },
});
