// Egress policies for the gateway and the controller: all that they do works, and nothing else.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';
import { removePolicies } from '../support/removed-policies.ts';
import { conclude, shell } from '../support/scripted-model.ts';

const STRANGER = 'lab-stranger';
const SERVE = "require('http').createServer((q, s) => s.end('reached')).listen(8080)";

describe('with networkPolicy.egress', () => {
  let lab: OperatorHarness;
  let address: string;

  beforeAll(async () => {
    const [node, service] = await Promise.all([
      kubectl('-n', 'default', 'get', 'endpointslices', 'kubernetes', '-o', 'jsonpath={.endpoints[0].addresses[0]}'),
      kubectl('-n', 'default', 'get', 'service', 'kubernetes', '-o', 'jsonpath={.spec.clusterIP}'),
    ]);
    const gateways = await child('docker', [
      'network',
      'inspect',
      'kind',
      '-f',
      '{{range .IPAM.Config}}{{.Gateway}} {{end}}',
    ]);
    const host = gateways.stdout.split(/\s+/).find((one) => /^\d+\.\d+\.\d+\.\d+$/.test(one));
    const egress = (name: string) => `networkPolicy.egress.${name}`;
    lab = await openOperatorHarness({
      [egress('enabled')]: 'true',
      [egress('apiServer[0].cidr')]: `${node}/32`,
      [egress('apiServer[0].ports[0]')]: '6443',
      [egress('apiServer[1].cidr')]: `${service}/32`,
      [egress('apiServer[1].ports[0]')]: '443',
      [egress('model[0].cidr')]: `${host}/32`,
      [egress('model[0].ports[0]')]: '18998',
    });
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: STRANGER } });
    for (const namespace of [STRANGER, lab.namespace]) {
      await apply(pod('web', namespace, ['node', '-e', SERVE]));
      await kubectl('-n', namespace, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
    }
    address = await kubectl('-n', STRANGER, 'get', 'pod', 'web', '-o', 'jsonpath={.status.podIP}');
  }, 300_000);

  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'namespace', STRANGER, '--wait=false');
    // Other tests expect the chart's defaults.
    await (await openOperatorHarness()).close();
  }, 300_000);

  /** Whether a process of oplab can connect to the stranger's pod. */
  const connects = async (process: 'gateway' | 'controller') => {
    const connect = `require('net').connect(8080, '${address}').setTimeout(3000, () => process.exit(1)).on('error', () => process.exit(1)).on('connect', () => process.exit(0))`;
    const place = ['-n', 'oplab-system', 'exec', `deployment/oplab-${process}`, '--', 'node', '-e', connect];
    return (await child('kubectl', place, { allowFailure: true })).code === 0;
  };

  it('an Incident is resolved, with an http check of a pod', async () => {
    await apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: lab.namespace },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    const state = { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: "object.data.state == 'well'" };
    const checks = [
      { name: 'well', kubernetes: state },
      { name: 'answers', http: { service: 'web', port: 80, cel: 'body == "reached"' } },
    ];
    lab.model.play(
      shell(`kubectl -n ${lab.namespace} patch configmap patient --type=merge -p '{"data":{"state":"well"}}'`),
      conclude('fixed'),
    );
    await lab.open('within-egress', { verify: { soakSeconds: 3, checks } });
    const incident = await lab.finished('within-egress');
    expect(incident.status, JSON.stringify(incident.status)).toMatchObject({ phase: 'Resolved' });
  }, 240_000);

  it('the gateway cannot connect to a pod of another namespace, and can without the policy', async () => {
    expect(await connects('gateway')).toBe(false);
    const restore = await removePolicies('networkpolicies', /^oplab-gateway-egress$/, 'oplab-system');
    try {
      await eventually(() => connects('gateway'), { what: 'the policy to be without effect', everyMs: 500 });
    } finally {
      await restore();
    }
    await eventually(async () => !(await connects('gateway')), { what: 'the policy to be in force', everyMs: 500 });
  }, 120_000);
});
