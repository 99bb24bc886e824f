// Attacks of whoever has the token of one route of the intake, for example an agent that has read
// Alertmanager's Secret: on other routes, other namespaces, and alarms of others.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type Incident, incident as incidentSchema, originName } from '../../src/api/incident.ts';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';

const HOME = 'lab-intake';
const ELSEWHERE = 'lab-intake-elsewhere';
const SHARED = 'lab-intake-shared';
const LABEL = '\\{\\{ $labels.namespace }}';

/** `open` and the two with a shared token are what an installation without the walls would be. */
const routes: readonly Readonly<Record<string, string>>[] = [
  { name: 'victim', namespace: HOME },
  { name: 'attacker', namespace: LABEL, 'namespaces[0]': HOME },
  { name: 'open', namespace: LABEL, 'namespaces[0]': '*' },
  { name: 'shared-a', namespace: HOME, 'token.existingSecret': SHARED },
  { name: 'shared-b', namespace: HOME, 'token.existingSecret': SHARED },
];
const values = Object.fromEntries(
  routes.flatMap((route, index) =>
    Object.entries({ ...route, suspend: 'true', 'prometheus.service': 'none' }).map(([field, value]) => [
      `intake.routes[${index}].${field}`,
      value,
    ]),
  ),
);

const names = [
  "a route's token at another route",
  "a label that leads outside of the route's namespaces",
  "the end of another route's alarm",
  "the end of a Monitor's alarm",
] as const;

const secret = z.object({ data: z.record(z.string(), z.string()) });

/** What an entry of a Secret in the release namespace holds. */
async function readSecret(name: string, key: string): Promise<string> {
  const { data } = secret.parse(JSON.parse(await kubectl('-n', 'oplab-system', 'get', 'secret', name, '-o', 'json')));
  return Buffer.from(data[key] ?? '', 'base64').toString();
}

async function listIncidents(namespace: string): Promise<Incident[]> {
  const { items } = z
    .object({ items: z.array(incidentSchema) })
    .parse(JSON.parse(await kubectl('-n', namespace, 'get', 'incidents', '-o', 'json')));
  return items;
}

/** Sends one alert from a pod. The token goes through standard input, not through arguments. */
async function send(route: string, token: string, alert: object): Promise<number> {
  const config = [
    `url = "https://oplab-intake.oplab-system.svc:8085/webhook/${route}"`,
    `header = "Authorization: Bearer ${token}"`,
    `data = ${JSON.stringify(JSON.stringify(alert))}`,
    'cacert = "/tmp/ca.crt"',
    'write-out = "\\n%{http_code}"',
    'silent',
    'max-time = 20',
  ].join('\n');
  const where = ['-n', HOME, 'exec', '-i', 'sender', '--'];
  const answer = await child('kubectl', [...where, 'curl', '--config', '-'], { input: config });
  return Number(answer.stdout.trim().split('\n').at(-1));
}

const begin = (fingerprint: string, namespace = HOME) => ({
  summary: 'the patient is ill',
  fingerprint,
  labels: { alertname: 'Ill', namespace },
  startsAt: new Date(Date.now() - 60_000).toISOString(),
});
const end = (fingerprint: string) => ({
  status: 'resolved',
  fingerprint,
  labels: { alertname: 'Ill', namespace: HOME },
});

describe('an attack on the intake', () => {
  let lab: OperatorHarness;
  const rows: AttackRow[] = [];

  beforeAll(async () => {
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'oplab-system' } });
    await apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: SHARED, namespace: 'oplab-system' },
      stringData: { token: 'the-token-of-two-routes' },
    });
    lab = await openOperatorHarness(values);
    for (const name of [HOME, ELSEWHERE]) await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    await apply(pod('sender', HOME, ['sleep', '3600']));
    await apply({
      apiVersion: 'oplab.dev/v1alpha1',
      kind: 'Monitor',
      metadata: { name: 'ill', namespace: HOME },
      spec: {
        intervalSeconds: 5,
        check: { kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'kube-root-ca.crt', cel: 'false' } },
        incident: { summary: 'the patient is ill', suspend: true },
      },
    });
    await kubectl('-n', HOME, 'wait', '--for=condition=Ready', 'pod/sender', '--timeout=60s');
    const ca = await readSecret('oplab-intake-tls', 'ca.crt');
    await child('kubectl', ['-n', HOME, 'exec', '-i', 'sender', '--', 'tee', '/tmp/ca.crt'], { input: ca });
    const tokens = {
      victim: await readSecret('oplab-intake-tokens', 'victim'),
      attacker: await readSecret('oplab-intake-tokens', 'attacker'),
      open: await readSecret('oplab-intake-tokens', 'open'),
      shared: await readSecret(SHARED, 'token'),
    };
    await eventually(
      async () => {
        const status = await send('victim', tokens.victim, begin('of-victim'));
        if (status !== 200) throw new Error(`the intake answered ${status}`);
        return true;
      },
      { what: 'the intake to accept an alert of the victim', withinMs: 60_000, everyMs: 1000 },
    );
    const find = async (kind: string, route: string) =>
      (await listIncidents(HOME)).find(({ spec }) => spec.source?.kind === kind && originName(spec.source) === route);
    const monitors = await eventually(
      async () => {
        const found = await find('Monitor', 'ill');
        return found?.status?.alarm?.state === 'Firing' ? found : undefined;
      },
      { what: "the Monitor's Incident", withinMs: 60_000, everyMs: 500 },
    );
    const ofMonitor = monitors.spec.source?.fingerprint ?? '';
    const isCleared = async (kind: string, route: string) =>
      (await find(kind, route))?.status?.alarm?.state === 'Cleared';
    const report = (
      name: (typeof names)[number],
      row: Pick<AttackRow, 'expected' | 'seen' | 'succeeded' | 'succeedsWithoutWall'>,
    ) => rows.push({ family: 'intake', name, way: 'the token of one route', trace: "the controller's log", ...row });

    const foreign = await send('victim', tokens.attacker, begin('foreign'));
    const shared = await send('shared-b', tokens.shared, begin('shared'));
    report(names[0], {
      expected: 'refused',
      seen: `${foreign}; without the wall ${shared}`,
      succeeded: foreign !== 401,
      succeedsWithoutWall: shared === 200,
    });

    const outside = await send('attacker', tokens.attacker, begin('outside', ELSEWHERE));
    const opened = (await listIncidents(ELSEWHERE)).length;
    const unbound = await send('open', tokens.open, begin('outside', ELSEWHERE));
    report(names[1], {
      expected: 'refused',
      seen: `${outside}, and ${opened} Incidents there; without the wall ${unbound}`,
      succeeded: outside !== 422 || opened > 0,
      succeedsWithoutWall: unbound === 200 && (await listIncidents(ELSEWHERE)).length === 1,
    });

    // The end is accepted, as that of an alarm that this route has not raised.
    const ended = await send('attacker', tokens.attacker, end('of-victim'));
    const wasCleared = await isCleared('Webhook', 'victim');
    await send('victim', tokens.victim, end('of-victim'));
    report(names[2], {
      expected: 'without effect',
      seen: `${ended}; cleared: ${wasCleared}`,
      succeeded: wasCleared,
      // The same end, once it comes from the route that raised the alarm.
      succeedsWithoutWall: await isCleared('Webhook', 'victim'),
    });

    const endedToo = await send('attacker', tokens.attacker, end(ofMonitor));
    const monitorCleared = await isCleared('Monitor', 'ill');
    report(names[3], {
      expected: 'without effect',
      seen: `${endedToo}; cleared: ${monitorCleared}`,
      succeeded: monitorCleared,
      succeedsWithoutWall: await clearByFingerprint(ofMonitor),
    });
    await reportAttacks(rows);
  }, 400_000);

  afterAll(async () => {
    for (const name of [HOME, ELSEWHERE]) {
      await tryKubectl('-n', name, 'delete', 'monitors,incidents', '--all', '--timeout=60s');
      await tryKubectl('delete', 'namespace', name, '--wait=false');
    }
    await tryKubectl('-n', 'oplab-system', 'delete', 'secret', SHARED);
    await lab?.close();
  });

  it.each(names)('%s fails', (name) => {
    const row = rows.find((one) => one.name === name);
    expect(row, 'the attack was not run').toBeDefined();
    expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
    expect(row?.succeedsWithoutWall, JSON.stringify(row, null, 2)).toBe(true);
  });
});

/** What the intake did with an end before it asked who had raised the alarm, with the same rights. */
async function clearByFingerprint(fingerprint: string): Promise<boolean> {
  const found = (await listIncidents(HOME)).find(({ spec }) => spec.source?.fingerprint === fingerprint);
  const { alarm } = found?.status ?? {};
  const status = { alarm: { ...alarm, state: 'Cleared', clearedTime: new Date().toISOString() } };
  const as = '--as=system:serviceaccount:oplab-system:oplab-controller';
  const what = ['incident', found?.metadata.name ?? '', '--subresource=status', '--type=merge'];
  const patched = await tryKubectl('-n', HOME, 'patch', ...what, '-p', JSON.stringify({ status }), as);
  return patched.code === 0;
}
