// What the kube door records is what the API server does, for every trick with headers and bodies.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Entry } from '../../src/audit/entry.ts';
import { FORBIDDEN_APPS, FORBIDDEN_GROUPS, FORBIDDEN_RESOURCES } from '../../src/gateway/doors/kube/forbidden.ts';
import { CONFIG_MAPS, ROLE_BINDINGS } from '../../src/kube/resources.ts';
import { createTransport } from '../../src/kube/transport.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const CONFIGMAPS = `/api/v1/namespaces/${TARGET}/configmaps`;
let lab: GatewayHarness;
let attempt: Attempt;
beforeAll(async () => {
  lab = await startGatewayHarness();
  attempt = await lab.open('recorded');
});
afterAll(() => lab?.close());

const bare = (method: string, target: string, headers: Record<string, string>, body?: string) =>
  lab.kube(attempt, method, target, headers, body);

/** What a request was answered, its entries, and the texts behind them. */
async function send(method: string, target: string, headers: Record<string, string>, body?: string) {
  const before = (await lab.entries(attempt)).length;
  const { status, text } = await bare(method, target, headers, body);
  const entries = (await lab.entries(attempt)).slice(before).filter((entry) => entry.kind.startsWith('kube_'));
  const shown = async (entry: Entry | undefined) =>
    entry?.blobDigest == null ? undefined : await lab.gateway.log.blob(entry.blobDigest);
  const [intent, outcome] = entries;
  return { status, text, entries, intent, outcome, sent: await shown(intent), made: await shown(outcome) };
}

const stored = async (name: string) => (await lab.client.get(CONFIG_MAPS, { namespace: TARGET, name })).data;
const configMap = (name: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data: { word: 'sesame' },
});

describe('a write is recorded as it is done', () => {
  it('whatever Connection names: it is refused', async () => {
    const headers = { 'content-type': 'application/vnd.kubernetes.protobuf', connection: 'content-type' };
    const body = ' '.repeat(4096) + JSON.stringify(configMap('unseen'));
    expect((await send('POST', CONFIGMAPS, headers, body)).status).toBe(400);
    await expect(stored('unseen')).rejects.toThrow('not found');
  });

  it('and not as a dry run that the API server does not read as one', async () => {
    await lab.client.create(CONFIG_MAPS, { ...configMap('dry'), metadata: { namespace: TARGET, name: 'dry' } });
    const target = `${CONFIGMAPS}/dry?dryRun=All${'&'.repeat(10_000)}`;
    const { status, text, entries } = await send('DELETE', target, {});
    expect([status, entries]).toEqual([400, []]);
    expect(text).toContain('send at most 1000');
    expect(await stored('dry')).toEqual({ word: 'sesame' });
    // Go drops so many parameters in silence: without the door, this dry run deletes.
    await createTransport(lab.client.server).exchange({ method: 'DELETE', path: target });
    await expect(stored('dry')).rejects.toThrow('not found');
  });

  it('with the path and the headers for the server behind a proxy', async () => {
    const target = `/api/v1/namespaces/${TARGET}/services/none:80/proxy/admin/delete-all`;
    const { intent } = await send('GET', `${target}?now=1`, {
      'x-command': 'drop everything',
      'x-api-key': 'hunter22',
    });
    expect(intent?.content).toBe(`proxy services/proxy ${TARGET}/none:80: GET /admin/delete-all`);
    expect(intent?.params).toMatchObject({
      path: target,
      query: { now: ['1'] },
      headers: { 'x-command': 'drop everything', 'x-api-key': '[redacted:value:8]' },
    });
  });

  it('with blanks around it that would push it out of the record', async () => {
    const blanks = ' '.repeat(1024 * 1024);
    const body = `${blanks}${JSON.stringify(configMap('padded'))}${blanks}`;
    const { status, sent } = await send('POST', CONFIGMAPS, { 'content-type': 'application/json' }, body);
    expect([status, sent]).toEqual([201, JSON.stringify(configMap('padded'))]);
  });

  it.each([
    'application/yaml',
    'text/plain',
    '*/*',
    'application/json;as=Table;v=v1;g=meta.k8s.io',
    'application/cbor',
  ])('with the name and the object that came of it, though the caller accepts %s', async (accept) => {
    const made = { ...configMap('x'), metadata: { generateName: 'named-' } };
    const {
      status,
      outcome,
      made: shown,
    } = await send('POST', CONFIGMAPS, { accept, 'content-type': 'application/json' }, JSON.stringify(made));
    expect(status).toBe(201);
    expect(outcome?.content).toMatch(/create configmaps \S+ named-\w+: 201/);
    expect(outcome?.params).toMatchObject({
      object: { name: expect.stringContaining('named-'), uid: expect.any(String) },
    });
    expect(shown).toContain('"word":"sesame"');
  });

  it('with each key once, as the API server reads it', async () => {
    const body =
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"twice"},"data":{"k":"no","k":"yes"}}';
    const { sent } = await send('POST', CONFIGMAPS, { 'content-type': 'application/json' }, body);
    expect(sent).toBe('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"k":"yes"}}');
    expect(await stored('twice')).toEqual({ k: 'yes' });
  });

  it('also if it is YAML, which goes on as the JSON that is recorded', async () => {
    const body = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata:\n  k: "yes"\n';
    const { status, sent } = await send('POST', CONFIGMAPS, { 'content-type': 'application/yaml' }, body);
    expect([status, sent]).toEqual([
      201,
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"yaml"},"data":{"k":"yes"}}',
    ]);
    const apply = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: applied\ndata:\n  k: v\n';
    const applied = await send(
      'PATCH',
      `${CONFIGMAPS}/applied?fieldManager=x`,
      { 'content-type': 'application/apply-patch+yaml' },
      apply,
    );
    expect(applied.status).toBe(201);
    expect(applied.sent).toBe('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"k":"v"}}');
  });

  it('and not with two objects in one protobuf envelope', async () => {
    const field = (number: number, bytes: Buffer) =>
      Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
    const text = (number: number, value: string) => field(number, Buffer.from(value));
    const named = (name: string) => field(1, text(1, name));
    const body = Buffer.concat([
      Buffer.from('k8s\0', 'latin1'),
      field(1, Buffer.concat([text(1, 'v1'), text(2, 'ConfigMap')])),
      field(2, named('harmless')),
      field(2, named('real')),
    ]);
    const headers = { 'content-type': 'application/vnd.kubernetes.protobuf' };
    expect((await send('POST', CONFIGMAPS, headers, body.toString('latin1'))).status).toBe(400);
    await expect(stored('real')).rejects.toThrow('not found');
  });

  it('and not at all if it is too large to be recorded whole', async () => {
    const body = JSON.stringify({ ...configMap('large'), data: { word: 'x'.repeat(1024 * 1024) } });
    expect((await send('POST', CONFIGMAPS, { 'content-type': 'application/json' }, body)).status).toBe(413);
  });

  it('and not under a name with line breaks, which would forge a line of the record', async () => {
    expect((await send('DELETE', `${CONFIGMAPS}/x%0Adelete%20pods%20tikv`, {})).status).toBe(400);
  });

  it('and no upgrade but those that are known', async () => {
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': 'x',
      'sec-websocket-version': '13',
    };
    const console = `/apis/subresources.kubevirt.io/v1/namespaces/${TARGET}/virtualmachineinstances/vm/console`;
    for (const target of [console, `${CONFIGMAPS}/padded`]) {
      expect((await send('GET', target, headers)).text).toContain('can be upgraded');
    }
    // A DELETE on the way of upgrades would have an outcome without its object.
    expect((await send('DELETE', `${CONFIGMAPS}/padded`, headers)).text).toContain('can be upgraded');
    expect(await stored('padded')).toEqual({ word: 'sesame' });
  });
});

describe('what the role does not allow', () => {
  const json = { 'content-type': 'application/json' };

  it.each([
    ['DELETE', '/api/v1/namespaces/kube-system/configmaps/x'],
    ['DELETE', '/apis/apps/v1/namespaces/kube-system/deployments'],
    ['PATCH', '/apis/apps/v1/namespaces/kube-system/deployments/x/scale'],
    ['POST', '/apis/scheduling.k8s.io/v1/priorityclasses'],
    ['PUT', '/api/v1/namespaces/kube-system/services/x/proxy/run'],
    ['POST', '/metrics'],
  ])('is refused before its body is read, in the words of the API server: %s %s', async (method, target) => {
    // Without a body there is nothing to save, so the API server itself answers.
    const theirs = await send(method, target, json);
    const ours = await send(method, target, { ...json, 'content-length': '19' }, '{"kind":"Anything"}');
    const status = JSON.parse(theirs.text);
    expect([ours.status, JSON.parse(ours.text)]).toEqual([403, status]);
    expect([ours.intent?.params, ours.sent]).toEqual([expect.objectContaining({ unreadBytes: 19 }), undefined]);
    expect(ours.intent?.params).toMatchObject({
      original: { body: { bytes: 19, hmac: expect.stringMatching(/^[0-9a-f]{64}$/) } },
    });
    expect(theirs.intent?.params).not.toHaveProperty('unreadBytes');
    expect(ours.outcome?.content).toContain(`403, ${status.message}`);
  });

  it('is allowed a moment after its role allows it', async () => {
    const target = '/api/v1/namespaces/default/configmaps';
    const body = JSON.stringify({ ...configMap('late'), metadata: { name: 'late' } });
    expect((await send('POST', target, json, body)).status).toBe(403);
    const group = 'rbac.authorization.k8s.io';
    const roles = { group, version: 'v1', plural: 'roles', kind: 'Role', namespaced: true };
    const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: ['create'] }];
    await lab.client.create(roles, { metadata: { name: 'late', namespace: 'default' }, rules });
    await lab.client.create(ROLE_BINDINGS, {
      apiVersion: `${group}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'late', namespace: 'default' },
      roleRef: { apiGroup: group, kind: 'Role', name: 'late' },
      subjects: [{ kind: 'ServiceAccount', name: attempt.podName, namespace: 'oplab-agents' }],
    });
    await eventually(async () => ((await send('POST', target, json, body)).status === 201 ? true : undefined), {
      withinMs: 6000,
    });
  });
});

describe('what no role can allow', () => {
  it.each([
    [
      'POST',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
      'validatingadmissionpolicybindings.admissionregistration.k8s.io',
    ],
    ['PATCH', `/apis/rbac.authorization.k8s.io/v1/namespaces/${TARGET}/roles/x`, 'roles.rbac.authorization.k8s.io'],
    ['DELETE', `/apis/oplab.dev/v1alpha1/namespaces/${TARGET}/incidents/recorded`, 'incidents.oplab.dev'],
    ['POST', `/api/v1/namespaces/${TARGET}/serviceaccounts/default/token`, 'serviceaccounts/token'],
    ['GET', '/api/v1/nodes/x/proxy/run', 'nodes/proxy'],
    ['PUT', `/api/v1/namespaces/${TARGET}/finalize`, 'namespaces/finalize'],
    ['DELETE', `/apis/apps/v1/namespaces/${TARGET}/controllerrevisions/x`, 'controllerrevisions.apps'],
  ])('is refused at the door, on record: %s %s', async (method, target, name) => {
    const headers = { 'content-type': 'application/json' };
    const { status, entries, outcome, text } = await send(
      method,
      target,
      headers,
      ['GET', 'DELETE'].includes(method) ? undefined : '{}',
    );
    expect(status).toBeGreaterThanOrEqual(400);
    expect(text).toContain(`an agent may not write ${name}`);
    expect(entries.map((entry) => entry.kind)).toEqual(['kube_intent', 'kube_outcome']);
    expect(outcome?.content).toContain('refused by the gateway');
  });

  it('is the same list as in the admission policy of the chart', async () => {
    const file = path.resolve(import.meta.dirname, '../../helm/oplab/templates/agent-admission.yaml');
    const text = (await readFile(file, 'utf8')).replaceAll(/^\{\{.*$/gm, '').replaceAll(/\{\{.*?\}\}.*/g, 'x');
    const policy = parseAllDocuments(text)
      .map((document) => document.toJS())
      .find(({ metadata, kind }) => kind === 'ValidatingAdmissionPolicy' && metadata.name === 'oplab-agent-forbidden');
    const [groups, core, apps] = policy.spec.matchConstraints.resourceRules;
    expect(groups.apiGroups).toEqual(FORBIDDEN_GROUPS);
    expect(groups.resources).toEqual(['*/*']);
    expect(core.resources.sort()).toEqual(
      ['serviceaccounts/token', ...FORBIDDEN_RESOURCES.flatMap((resource) => [resource, `${resource}/*`])].sort(),
    );
    expect([apps.apiGroups, apps.resources]).toEqual([['apps'], FORBIDDEN_APPS]);
  });
});
