// Attacks that do not come from a sandbox: by who may write Incidents and Monitors in one namespace,
// and by pods of other namespaces.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { type As, directClient } from '../support/direct-request.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';
import { removePolicies } from '../support/removed-policies.ts';

const NEIGHBOUR = 'lab-neighbour';
const check = {
  name: 'any',
  kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'any', cel: 'true' },
};
const incident = (more: object = {}) => ({ summary: 'an attack', verify: { checks: [check] }, ...more });

/** Specs that would give their author more than the author has. */
const specs: readonly [string, object][] = [
  ['kube-system as its target', { targetNamespaces: ['kube-system'] }],
  ["the operator's namespace as its target", { targetNamespaces: ['oplab-system'] }],
  ["the agents' namespace as its target", { targetNamespaces: ['oplab-agents'] }],
  ['a foreign namespace beside its own', { targetNamespaces: [NEIGHBOUR, 'default'] }],
  ['nine targets', { targetNamespaces: Array.from({ length: 9 }, (_, index) => `n${index}`) }],
  ['a class that its author may not use', { agentClassName: 'powerful' }],
];

const authored = [
  ...specs.map(([name, more]) => ({ name: `an Incident with ${name}`, plural: 'incidents', spec: incident(more) })),
  {
    name: 'an Incident that says an alarm opened it',
    plural: 'incidents',
    spec: incident({ source: { kind: 'Monitor', name: 'x', fingerprint: 'x' } }),
  },
  ...specs.map(([name, more]) => ({
    name: `a Monitor with ${name}`,
    plural: 'monitors',
    spec: { check: { kubernetes: check.kubernetes }, incident: { summary: 'an attack', ...more } },
  })),
];

const PORTS = [8443, 6443, 8080] as const;

const names: readonly [string, string][] = [
  ...authored.map(({ name }): [string, string] => ['authors', name]),
  ...PORTS.map((port): [string, string] => ['neighbours', `port ${port} of the gateway's pod`]),
];

describe('an attack from outside a sandbox', () => {
  let lab: OperatorHarness;
  const rows: AttackRow[] = [];
  const find = (family: string, name: string) => rows.find((row) => row.family === family && row.name === name);

  beforeAll(async () => {
    lab = await openOperatorHarness();
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NEIGHBOUR } });
    await apply(pod('web', NEIGHBOUR, ['sleep', '3600']));
    await apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'author', namespace: NEIGHBOUR } });
    const account = `--serviceaccount=${NEIGHBOUR}:author`;
    await tryKubectl('delete', 'clusterrolebinding', NEIGHBOUR);
    await kubectl('-n', NEIGHBOUR, 'create', 'rolebinding', 'author', '--clusterrole=oplab-incident-author', account);
    await kubectl('create', 'clusterrolebinding', NEIGHBOUR, '--clusterrole=oplab-use-default', account);
    await kubectl('-n', NEIGHBOUR, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
    const send = await directClient();
    const as: As = {
      user: `system:serviceaccount:${NEIGHBOUR}:author`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${NEIGHBOUR}`, 'system:authenticated'],
    };
    const write = (plural: string, spec: object) =>
      send(
        {
          method: 'POST',
          path: `/apis/oplab.dev/v1alpha1/namespaces/${NEIGHBOUR}/${plural}?dryRun=All`,
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({
            apiVersion: 'oplab.dev/v1alpha1',
            kind: plural === 'incidents' ? 'Incident' : 'Monitor',
            metadata: { generateName: 'attack-' },
            spec,
          }),
        },
        as,
      );
    const writeAll = async () => {
      const answers = [];
      for (const { plural, spec } of authored) answers.push(await write(plural, spec));
      return answers;
    };
    const address = await kubectl(
      ...['-n', 'oplab-system', 'get', 'pods', '-l', 'app.kubernetes.io/component=gateway', '-o'],
      'jsonpath={.items[0].status.podIP}',
    );
    const connect = async (port: number) => {
      const command = `timeout 3 bash -c '</dev/tcp/${address}/${port}'`;
      const place = ['-n', NEIGHBOUR, 'exec', 'web', '--'];
      return (await child('kubectl', [...place, 'bash', '-c', command], { allowFailure: true })).code === 0;
    };
    const connectAll = async () => {
      const open = [];
      for (const port of PORTS) open.push(await connect(port));
      return open;
    };

    // Whoever may do nothing at all proves nothing: this author may write a plain Incident.
    await eventually(async () => (await write('incidents', incident())).status === 201, {
      what: 'the author to have the rights of an author',
      everyMs: 300,
    });
    const [answers, open] = [await writeAll(), await connectAll()];
    const restore = [
      await removePolicies('validatingadmissionpolicybindings', /^oplab-(?:incident|monitor)-author$/),
      await removePolicies('networkpolicies', /^oplab-gateway$/, 'oplab-system'),
    ];
    let bare: typeof answers = [];
    let bareOpen: boolean[] = [];
    try {
      await eventually(
        async () => (await write('incidents', incident({ targetNamespaces: ['kube-system'] }))).status === 201,
        { what: 'the admission policies to be without effect', everyMs: 300 },
      );
      await eventually(() => connect(8443), { what: 'the network policy to be without effect', everyMs: 300 });
      [bare, bareOpen] = [await writeAll(), await connectAll()];
    } finally {
      for (const put of restore) await put();
    }
    for (const [index, { name }] of authored.entries()) {
      const answer = answers[index];
      rows.push({
        family: 'authors',
        name,
        way: 'an author of Incidents in one namespace',
        expected: 'refused',
        seen: `${answer?.status}: ${answer?.body.slice(0, 300)}`,
        succeeded: answer === undefined || answer.status < 400,
        succeedsWithoutWall: bare[index]?.status === 201,
        trace: "the API server's own audit log",
      });
    }
    for (const [index, port] of PORTS.entries())
      rows.push({
        family: 'neighbours',
        name: `port ${port} of the gateway's pod`,
        way: 'a pod of another namespace',
        expected: 'closed',
        seen: open[index] ? 'open' : 'closed',
        succeeded: open[index] !== false,
        succeedsWithoutWall: bareOpen[index] === true,
        trace: 'none: the connection does not reach anything of oplab',
      });
    await reportAttacks(rows);
  }, 300_000);

  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'namespace', NEIGHBOUR, '--wait=false');
    await tryKubectl('delete', 'clusterrolebinding', NEIGHBOUR);
  });

  it.each(names)('%s: %s fails', (family, name) => {
    const row = find(family, name);
    expect(row, 'the attack was not run').toBeDefined();
    expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
  });
});
