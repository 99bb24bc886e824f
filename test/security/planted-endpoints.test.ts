// Attacks by who may write EndpointSlices: a Service of the target leads a check to another address.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';

const VICTIM = 'lab-victim';
const MARK = 'reached-the-victim';
const SERVE = `require('http').createServer((q, s) => s.end('${MARK}')).listen(8080)`;

/** How a slice is planted: beside which Service, and which pod it says that the address is of. */
const attacks = [
  { name: 'a Service with a cluster IP, without a pod', clusterIP: undefined, pod: undefined },
  { name: 'a Service with a cluster IP, with a pod of the target', clusterIP: undefined, pod: 'patient' },
  { name: 'a headless Service, with a pod of the target', clusterIP: 'None', pod: 'patient' },
] as const;

describe('a planted EndpointSlice', () => {
  let lab: OperatorHarness;
  const rows: AttackRow[] = [];

  beforeAll(async () => {
    lab = await openOperatorHarness();
    const { namespace } = lab;
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: VICTIM } });
    await apply(pod('web', VICTIM, ['node', '-e', SERVE]));
    await kubectl('-n', VICTIM, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
    const address = await kubectl('-n', VICTIM, 'get', 'pod', 'web', '-o', 'jsonpath={.status.podIP}');
    for (const [index, attack] of attacks.entries()) {
      const service = `planted-${index}`;
      await plant(namespace, service, address, attack);
      const seen = await observe(namespace, service);
      const bare = await askAsEverybody(namespace, service);
      rows.push({
        family: 'planted endpoints',
        name: attack.name,
        way: 'who may write EndpointSlices of a target',
        expected: 'refused: the check names the Service, the address and why',
        seen,
        succeeded: seen.includes(MARK) || !seen.includes(`endpoint ${address}:8080 of Service ${namespace}/${service}`),
        succeedsWithoutWall: bare.includes(MARK),
        trace: "the Monitor's condition Observed",
      });
    }
    await reportAttacks(rows);
  }, 300_000);

  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'namespace', VICTIM, '--wait=false');
  });

  it.each(attacks)('beside $name leads a check nowhere', ({ name }) => {
    const row = rows.find((candidate) => candidate.name === name);
    expect(row, 'the attack was not run').toBeDefined();
    expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
    expect(row?.succeedsWithoutWall, JSON.stringify(row, null, 2)).toBe(true);
  });
});

async function plant(namespace: string, name: string, address: string, attack: (typeof attacks)[number]) {
  const { clusterIP } = attack;
  await apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    // Selects no pod, so that the planted slice is the only one.
    spec: { selector: { app: name }, ports: [{ port: 8080 }], ...(clusterIP === undefined ? {} : { clusterIP }) },
  });
  const targetRef = attack.pod === undefined ? {} : { targetRef: { kind: 'Pod', namespace, name: attack.pod } };
  await apply({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-planted`, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: [address], conditions: { ready: true }, ...targetRef }],
  });
}

/** What a Monitor reports about the Service. */
async function observe(namespace: string, service: string): Promise<string> {
  await apply({
    apiVersion: 'oplab.dev/v1alpha1',
    kind: 'Monitor',
    metadata: { name: service, namespace },
    spec: {
      check: { http: { service, port: 8080, cel: 'body == "nothing"' } },
      intervalSeconds: 1,
      severity: 'warning',
      forSeconds: 600,
      incident: { summary: 'an attack' },
    },
  });
  return await eventually(
    async () => {
      const status = await kubectl('-n', namespace, 'get', 'monitor', service, '-o', 'jsonpath={.status}');
      return /refused|reached/.test(status) ? status : undefined;
    },
    { what: `${service} to be observed`, withinMs: 60_000, everyMs: 500 },
  );
}

/** The same request without the wall: to the Service's own name, where kube-proxy and DNS lead. */
async function askAsEverybody(namespace: string, service: string): Promise<string> {
  const ask = `fetch('http://${service}.${namespace}.svc:8080').then((a) => a.text()).then(console.log)`;
  return await eventually(
    async () => {
      const place = ['-n', namespace, 'exec', 'patient', '--'];
      const { stdout } = await child('kubectl', [...place, 'node', '-e', ask], { allowFailure: true });
      return stdout === '' ? undefined : stdout;
    },
    { what: `${service} to lead to the victim`, withinMs: 30_000, everyMs: 1000 },
  );
}
