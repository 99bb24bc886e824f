// `oplab incident create` against a real API server, and `oplab session export` through a real
// gateway.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { isTrue } from '../../src/api/meta.ts';
import { parseExport } from '../../src/audit/export.ts';
import { realEnvironment } from '../../src/cli/environment.ts';
import { INCIDENTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { CapturedOutput, commandLine } from '../support/fake-environment.ts';
import { TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
let directory: string;
const captured = new CapturedOutput();

beforeAll(async () => {
  lab = await startGatewayHarness();
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-create-'));
});
afterAll(async () => {
  await lab?.close();
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});
beforeEach(() => captured.clear());

/** The command line as for a user, with a kubeconfig, the API server and the gateway. */
const oplab = (...args: string[]) => {
  const connection = [
    ...['--kubeconfig', path.join(lab.dir, 'plane/kubeconfig')],
    ...['--gateway', `http://127.0.0.1:${lab.gateway.ports.read}`],
  ];
  return commandLine(realEnvironment(captured.output))(...connection, ...args);
};
const names = async () =>
  (await lab.client.list(INCIDENTS, { namespace: TARGET })).items.map(({ metadata }) => metadata.name);
const check = ['--object-check', `well=v1/ConfigMap/patient object.data.state == 'well'`];

describe('incident create', () => {
  it('creates an Incident from flags and prints it as stored by the API server, with all defaults', async () => {
    await oplab(
      ...['-n', TARGET, 'incident', 'create', 'by-flags', '--summary', 'a store is gone', '--severity', 'critical'],
      ...[...check, '--soak-seconds', '5', '--max-turns', '7', '--label', 'store=4', '--suspend'],
    );
    expect(parse(captured.stdout)).toMatchObject({
      kind: 'Incident',
      metadata: { name: 'by-flags', namespace: TARGET, uid: expect.stringMatching(/-/) },
      spec: {
        ...{ summary: 'a store is gone', severity: 'critical', agentClassName: 'default', suspend: true },
        alertLabels: { store: '4' },
        limits: { maxTurns: 7 },
        verify: { soakSeconds: 5, checks: [{ name: 'well', kubernetes: { name: 'patient' } }] },
      },
    });
    expect(captured.stderr).toContain(`oplab incident watch ${TARGET}/by-flags`);
    expect((await lab.incident('by-flags')).spec.suspend).toBe(true);
  });

  it('derives a name from the summary, and another one for the same summary', async () => {
    for (const _ of [1, 2])
      await oplab('-n', TARGET, 'incident', 'create', '--summary', 'TiKV: store 4 is gone!', ...check, '-o', 'name');
    const [first = '', second = ''] = captured.stdout.trim().split('\n');
    expect(first).toMatch(/^incident\.oplab\.dev\/tikv-store-4-is-gone-[a-z0-9]{5}$/);
    expect(second).not.toBe(first);
  });

  it('creates one or several Incidents from a file, and can let the server validate them without creating them', async () => {
    const example = await readFile(path.join(import.meta.dirname, '../../examples/incident.yaml'), 'utf8');
    const ours = example.replaceAll(/namespace: tikv$/gm, `namespace: ${TARGET}`).replace('[tikv]', `[${TARGET}]`);
    const file = path.join(directory, 'incidents.yaml');
    await writeFile(file, `${ours}---\n${ours.replace('name: tikv-store-down', 'name: another')}`);
    await oplab('incident', 'create', '-f', file, '--dry-run');
    expect(captured.stderr).toContain('would be created (server dry run)');
    expect(await names()).not.toContain('another');
    await oplab('incident', 'create', '-f', file, '-o', 'name');
    expect(captured.stdout).toContain('incident.oplab.dev/tikv-store-down\nincident.oplab.dev/another\n');
    expect(await names()).toEqual(expect.arrayContaining(['tikv-store-down', 'another']));
    // The same name is refused the second time, as with kubectl create.
    await expect(oplab('incident', 'create', '-f', file)).rejects.toMatchObject({ exitCode: 1 });
  });

  it('a client dry run prints what would be sent, without a cluster', async () => {
    await oplab(
      '-n',
      'x',
      '--kubeconfig',
      '/nonexistent',
      'incident',
      'create',
      'a',
      '--summary',
      's',
      ...check,
      '--dry-run',
      'client',
    );
    expect(parse(captured.stdout)).toMatchObject({ metadata: { name: 'a', namespace: 'x' }, spec: { summary: 's' } });
  });

  it.each([
    [['a', ...check], /--summary/],
    [['a', '--summary', 's'], /at least one check is required/],
    [['a/b/c', '--summary', 's', ...check], /is not a valid name/],
    [['a', '--summary', 's', '--http-check', 'x'], /use the form NAME=/],
    [['UPPER', '--summary', 's', ...check], /metadata.name/],
    [['a', '--summary', 's', '--object-check', 'x=v1/Secret/y true'], /may not read Secrets/],
    [['-f', 'nowhere.yaml'], /nowhere.yaml does not exist/],
    [['-f', 'package.json'], /apiVersion: must be oplab.dev/],
  ])('exits with 2 and says what is wrong with the input: %j', async (args, message) => {
    await expect(oplab('-n', TARGET, 'incident', 'create', ...args)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(message),
    });
  });

  const well = { name: 'w', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } };
  it.each<[string, object, object]>([
    ['two checks with the same name', { name: 'a' }, { verify: { checks: [well, well] } }],
    ['an invalid object name', { name: 'Foo_Bar' }, {}],
    ['no name', {}, {}],
    ['a field that does not exist', { name: 'a' }, { severty: 'info' }],
    ['a target twice', { name: 'a' }, { targetNamespaces: ['x', 'x'] }],
    ['a check without a kind', { name: 'a' }, { verify: { checks: [{ name: 'w' }] } }],
    [
      'too many labels',
      { name: 'a' },
      { alertLabels: Object.fromEntries(Array.from('x'.repeat(65), (_, i) => [i, ''])) },
    ],
    [
      'a soak longer than the time limit',
      { name: 'a' },
      { verify: { soakSeconds: 60, checks: [well] }, limits: { timeoutSeconds: 60 } },
    ],
  ])('server and client agree in a dry run: %s is refused', async (_, metadata, more) => {
    const file = path.join(directory, 'refused.yaml');
    const spec = { summary: 's', verify: { checks: [well] }, ...more };
    await writeFile(file, JSON.stringify({ apiVersion: 'oplab.dev/v1alpha1', kind: 'Incident', metadata, spec }));
    for (const where of ['server', 'client']) {
      const run = oplab('-n', TARGET, 'incident', 'create', '-f', file, '--dry-run', where);
      await expect(run, where).rejects.toMatchObject({ exitCode: 2 });
    }
  });

  it('refuses a field that does not exist, although kubectl only warns', async () => {
    const file = path.join(directory, 'typo.yaml');
    const spec = {
      summary: 's',
      severty: 'critical',
      verify: { checks: [{ name: 'w', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } }] },
    };
    await writeFile(
      file,
      JSON.stringify({ apiVersion: 'oplab.dev/v1alpha1', kind: 'Incident', metadata: { name: 'typo' }, spec }),
    );
    await expect(oplab('-n', TARGET, 'incident', 'create', '-f', file)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('severty'),
    });
  });

  it('exits with 3 if the namespace does not exist', async () => {
    await expect(oplab('-n', 'nowhere', 'incident', 'create', 'a', '--summary', 's', ...check)).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining('nowhere'),
    });
  });
});

describe('session export', () => {
  it('reads the session through the gateway and its Incident through the cluster, and the result verifies by itself', async () => {
    const attempt = await lab.open('exported');
    const { status } = await lab.ask(attempt, 'POST', '/audit/v1/entries', {
      ...{ clientKey: '1-1', kind: 'tool_result', tool: 'shell', exitCode: 0, content: 'said hello', blob: 'hello\n' },
      params: { call: '1-0' },
    });
    expect(status).toBe(200);
    // The anchor in the status is written after the record.
    await eventually(async () => ((await lab.incident('exported')).status?.audit?.entries ? true : undefined), {
      withinMs: 20_000,
    });
    const file = path.join(directory, 'exported.json');
    await oplab('-n', TARGET, 'session', 'export', 'exported', '--to', file);
    const content = parseExport(await readFile(file, 'utf8'), file);
    expect(Object.values(content.blobs)).toEqual(expect.arrayContaining(['hello\n']));
    const { conditions } = (await lab.incident('exported')).status ?? {};
    expect(isTrue(conditions, 'Finished')).toBe(false);
    expect(content).toMatchObject({ incident: { metadata: { uid: attempt.session } }, session: { sealed: false } });
    await oplab('audit', 'verify', '--file', file);
    expect(captured.stdout).toMatch(
      /✓ patient\/exported.*not sealed\n.*the file's own head, the file's status\.audit\.headHash/,
    );
    await oplab('session', 'import', file, '--into', path.join(directory, 'cases.db'));
    await oplab('audit', 'show', 'exported', '--file', path.join(directory, 'cases.db'), '--full');
    expect(captured.stdout).toContain('| hello');
  });
});
