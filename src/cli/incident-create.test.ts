// What `incident create` rejects before anything is sent, and without a cluster.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commandLine, fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import { API_VERSION } from '../api/group.ts';
import { Cel } from '../checks/cel.ts';
import type { NewIncident } from './incidents.ts';
import { checkAsServer } from './manifest-check.ts';

let directory: string;
let stdout = '';
let sent: NewIncident[] = [];
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-create-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));
beforeEach(() => {
  stdout = '';
  sent = [];
});

const environment = fakeEnvironment({
  output: outputTo((text) => {
    stdout += text;
  }),
  incidents: () => ({
    get: () => Promise.reject(new Error('nothing is read')),
    list: () => Promise.reject(new Error('nothing is read')),
    create: async (wanted) => {
      sent.push(wanted);
      return wanted;
    },
  }),
  namespace: () => 'tikv',
});
const oplab = (...args: string[]) => commandLine(environment)('incident', 'create', ...args);

const http = { service: 'pd', port: 2379, cel: 'status == 200' };
const manifest = (
  checks: object[],
  spec: object = {},
  metadata: NewIncident['metadata'] = { name: 'a' },
): NewIncident => ({
  apiVersion: API_VERSION,
  kind: 'Incident',
  metadata,
  spec: { summary: 's', verify: { checks }, ...spec },
});
const up = { name: 'up', http };

/** Creates what the manifest says. */
async function create(content: object, ...args: string[]): Promise<unknown> {
  const file = path.join(directory, 'incident.json');
  await writeFile(file, JSON.stringify(content));
  return await oplab('-f', file, ...args);
}

describe('a dry run by the client', () => {
  it('accepts what the server would accept', async () => {
    const all = [
      up,
      { name: 'object', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'object.a' } },
      { name: 'alerts', prometheus: { service: 'p', namespace: 'other', query: 'ALERTS' } },
    ];
    const spec = { targetNamespaces: ['tikv', 'other'], alertLabels: { Any_Name: 'v' } };
    await create(manifest(all, spec, { name: 'a.b-c' }), '--dry-run', 'client', '-o', 'name');
    await create(manifest([up], {}, { generateName: 'store-down-' }), '--dry-run', 'client', '-o', 'name');
    expect(stdout).toBe('incident.oplab.dev/a.b-c\nincident.oplab.dev/store-down-\n');
    expect(sent).toEqual([]);
  });

  it('rejects what the server would reject', async () => {
    await expect(create(manifest([up, up]), '--dry-run', 'client')).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('"up" is a duplicate'),
    });
    expect(stdout).toBe('');
  });

  const cel = new Cel();
  afterAll(() => cel.close());
  const pod = { apiVersion: 'v1', kind: 'Pod', cel: 'true' };
  it.each<[string, NewIncident, string]>([
    ['two checks of one name', manifest([up, up]), 'spec.verify.checks[1].name: "up" is a duplicate'],
    [
      'a name of no object',
      manifest([up], {}, { name: 'Foo_Bar' }),
      'metadata.name: "Foo_Bar" is not a valid object name',
    ],
    ['a beginning of no name', manifest([up], {}, { generateName: 'A-' }), 'metadata.generateName: "A-" is no'],
    ['no name', manifest([up], {}, {}), 'metadata.name: must be set'],
    [
      'no namespace',
      manifest([up], {}, { name: 'a', namespace: 'a.b' }),
      'metadata.namespace: "a.b" is not a valid namespace name',
    ],
    ['a field that is not there', manifest([up], { severty: 'info' }), 'spec.severty: unknown field'],
    [
      'one deep in it',
      manifest([{ name: 'a', http: { ...http, url: 'x' } }]),
      'spec.verify.checks[0].http.url: unknown',
    ],
    [
      'a target twice',
      manifest([up], { targetNamespaces: ['x', 'x'] }),
      'spec.targetNamespaces[1]: "x" is a duplicate',
    ],
    ['a check of nothing', manifest([{ name: 'up' }]), 'spec.verify.checks[0]: a check must set exactly one'],
    [
      'a check that has a name of ours',
      manifest([{ name: 'baseline', http }]),
      'checks[0]: name: baseline is reserved',
    ],
    [
      'a Secret',
      manifest([{ name: 'a', kubernetes: { ...pod, kind: 'Secret' } }]),
      'kind: a check may not read Secrets',
    ],
    [
      'a check that looks elsewhere',
      manifest([{ name: 'up', http: { ...http, namespace: 'other' } }], { targetNamespaces: ['tikv'] }),
      'spec: verify.checks: the namespace of each check must be in targetNamespaces',
    ],
    [
      'labels without end',
      manifest([up], { alertLabels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, ''])) }),
      'spec.alertLabels: must have at most 64 entries, not 65',
    ],
  ])('refuses %s', async (_, content, message) => {
    await expect(checkAsServer(content, cel)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message),
    });
  });
});

describe.each([[[]], [['--dry-run', 'client']], [['--dry-run', 'server']]])('with %j', (args) => {
  it('invalid CEL is rejected before anything is sent', async () => {
    const ill = manifest([up, { name: 'ill', http: { ...http, cel: 'status === 200' } }]);
    const file = path.join(directory, 'both.yaml');
    await writeFile(file, `${JSON.stringify(manifest([up]))}\n---\n${JSON.stringify(ill)}\n`);
    await expect(oplab('-f', file, ...args)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(
        /^spec\.verify\.checks\[1\]\.http\.cel: "status === 200" .*1:8.*for example status == 200$/,
      ),
    });
    expect(sent).toEqual([]);
  });

  it('-A is rejected, because it would be ignored', async () => {
    await expect(create(manifest([up]), '-A', ...args)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('-A'),
    });
    expect(sent).toEqual([]);
  });

  it('an error names a value that is out of range', async () => {
    await expect(create(manifest([{ name: 'up', http: { ...http, port: 0 } }]), ...args)).rejects.toMatchObject({
      message: expect.stringMatching(/^spec\.verify\.checks\[0\]\.http\.port: must be from 1 to 65535 \(got 0\)$/),
    });
  });
});
