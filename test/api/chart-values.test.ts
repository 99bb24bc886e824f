// What the oplab chart renders from its values, without a cluster.

import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { parseDigestKey } from '../../src/audit/raw-digest.ts';
import { parseSigner } from '../../src/audit/signed-note.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { SYSTEM } from '../support/api-server.ts';
import { renderChart } from '../support/chart.ts';

const ENDPOINT = { name: 'local', socket: true };
const role = z.looseObject({
  rules: z.array(z.object({ verbs: z.array(z.string()), resourceNames: z.array(z.string()).optional() })),
});

describe('the roles that the controller may bind', () => {
  const bindable = async (values: object) => {
    const roles = (await renderChart(values)).filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role');
    return roles.flatMap((one) => role.parse(one).rules).filter(({ verbs }) => verbs.includes('bind'));
  };
  const agentClass = { repairRoles: ['oplab-tikv-operate'], readRoles: [] };

  it('are those of bindableRoles', async () => {
    const [rule, ...more] = await bindable({ bindableRoles: ['oplab-tikv-operate'], agentClass });
    expect(rule?.resourceNames).toEqual(['oplab-tikv-operate']);
    expect(more).toEqual([]);
  });

  it('are none, rather than all, if the list is empty', async () => {
    expect(await bindable({ bindableRoles: [], agentClass: { create: false } })).toEqual([]);
  });
});

it('the role that reads Incidents is a part of those roles of Kubernetes that are named', async () => {
  const labels = async (values: object) => {
    const found = (await renderChart(values)).find(({ metadata }) => metadata.name === 'oplab-view');
    return Object.keys(found?.metadata.labels ?? {}).filter((label) => label.includes('aggregate'));
  };
  expect(await labels({})).toEqual([]);
  expect(await labels({ viewRole: { aggregateTo: ['admin'] } })).toEqual([
    'rbac.authorization.k8s.io/aggregate-to-admin',
  ]);
  await expect(renderChart({ viewRole: { aggregateTo: ['viewer'] } })).rejects.toThrow(/viewRole.*aggregateTo/s);
});

describe('imagePullSecrets', () => {
  it('apply to every pod that the chart starts, none of which has variables of Services, and to the agents', async () => {
    const pullSecrets = [{ name: 'registry' }];
    const made = await renderChart({
      imagePullSecrets: pullSecrets,
      rehearsal: { enabled: true },
      docker: { endpoints: [ENDPOINT], socket: {} },
    });
    const workload = z.looseObject({ template: z.looseObject({ spec: z.looseObject({}) }) });
    const templates = made.flatMap(({ kind, metadata, spec }) => {
      const { data } = workload.safeParse(spec);
      return data === undefined ? [] : [{ name: `${kind} ${metadata.name}`, spec: data.template.spec }];
    });
    expect(templates.length).toBeGreaterThanOrEqual(5);
    for (const { name, spec } of templates) {
      expect(spec, name).toMatchObject({ imagePullSecrets: pullSecrets });
      // Variables of Services, such as OPLAB_INTAKE_PORT, would replace settings.
      expect(spec, name).toMatchObject({ enableServiceLinks: false });
    }
    expect(made.find(({ kind }) => kind === 'AgentClass')?.spec).toMatchObject({ images: { pullSecrets } });
  });
});

describe('what the chart generates itself', () => {
  const ROUTE = { name: 'tikv', namespace: 'tikv', prometheus: { service: 'p' } };
  const VALUES = { intake: { routes: [ROUTE] } };
  const docker = (socket: object) => ({ endpoints: [ENDPOINT], socket });

  it('is omitted if existing Secrets are named, so that two renderings without a cluster are the same', async () => {
    const values = {
      intake: { routes: [{ ...ROUTE, token: { existingSecret: 'my-token' } }], tlsSecret: 'my-intake-tls' },
      gateway: { tls: { existingSecret: 'my-tls', ca: '-----BEGIN CERTIFICATE-----\nMY CA' } },
      tripwires: { existingSecret: 'my-key' },
      audit: { signing: { keySecret: 'my-signing' }, keySecret: 'my-audit-key' },
      docker: docker({ serverSecret: 'my-server', clientSecret: 'my-client' }),
    };
    const made = await renderChart(values);
    expect(made).toEqual(await renderChart(values));
    expect(made.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    const text = (kind: string, name: string) =>
      JSON.stringify(made.find((one) => one.kind === kind && one.metadata.name === name));
    expect(text('ConfigMap', 'oplab-gateway-ca')).toContain('MY CA');
    expect(text('Deployment', 'oplab-gateway')).toMatch(/"secretName":"my-tls".*"secretName":"my-client"/);
    expect(text('Deployment', 'oplab-controller')).toMatch(
      /"secretName":"my-key".*"name":"my-token".*"secretName":"my-intake-tls"/,
    );
    expect(text('Deployment', 'oplab-docker-socket')).toContain('"secretName":"my-server"');
  });

  it('is included by default', async () => {
    const made = await renderChart({ ...VALUES, docker: docker({}) });
    const secrets = made.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name);
    expect(secrets.sort()).toEqual([
      'oplab-docker-ca',
      'oplab-docker-client',
      'oplab-docker-socket-tls',
      'oplab-gateway-audit-key',
      'oplab-gateway-ca',
      'oplab-gateway-signing',
      'oplab-gateway-tls',
      'oplab-intake-ca',
      'oplab-intake-tls',
      'oplab-intake-tokens',
      'oplab-tripwires',
    ]);
  });

  it('gives each route a token of its own, and keeps tokens out of the configuration', async () => {
    const routes = [
      ROUTE,
      { ...ROUTE, name: 'b' },
      { ...ROUTE, name: 'c', token: { existingSecret: 'mine', key: 'k' } },
    ];
    const made = await renderChart({ intake: { routes } });
    const find = (kind: string, name: string) => made.find((one) => one.kind === kind && one.metadata.name === name);
    const tokens = z.record(z.string(), z.string()).parse(find('Secret', 'oplab-intake-tokens')?.data);
    expect(Object.keys(tokens)).toEqual(['tikv', 'b']);
    expect(tokens.tikv).not.toBe(tokens.b);
    const config = JSON.stringify(find('ConfigMap', 'oplab-controller'));
    expect(config).not.toMatch(/mine|token/);
    const deployment = JSON.stringify(find('Deployment', 'oplab-controller'));
    for (const [name, key, file] of [
      ['oplab-intake-tokens', 'tikv', 'tikv'],
      ['oplab-intake-tokens', 'b', 'b'],
      ['mine', 'k', 'c'],
    ]) {
      expect(deployment).toContain(`"name":"${name}","optional":true,"items":[{"key":"${key}","path":"${file}"}]`);
    }
  });

  it('has plain HTTP for the intake only where it is chosen', async () => {
    const text = async (intake: object) =>
      JSON.stringify(await renderChart({ intake: { routes: [ROUTE], ...intake } }));
    expect(await text({})).toContain('"OPLAB_INTAKE_TLS_FOLDER"');
    expect(await text({})).not.toContain('"OPLAB_INTAKE_PLAIN_HTTP"');
    const plain = await text({ plainHTTP: true });
    expect(plain).toContain('"OPLAB_INTAKE_PLAIN_HTTP","value":"true"');
    expect(plain).not.toMatch(/OPLAB_INTAKE_TLS_FOLDER|oplab-intake-tls/);
  });

  it('includes no part of the tripwires that are switched off', async () => {
    expect(JSON.stringify(await renderChart({}))).toMatch(/OPLAB_TRIPWIRE_KEY_FILE/);
    const off = JSON.stringify(await renderChart({ tripwires: { enabled: false } }));
    expect(off).not.toMatch(/tripwire|canary|vault|cloud-admin-credentials|8200/i);
  });

  it('has the names of the tripwires, and the holes that a class allows, where they are used', async () => {
    const made = await renderChart({
      tripwires: { secretName: 'root-login', hostName: 'hq' },
      agentClass: { allowHoles: ['internet'] },
    });
    const text = (kind: string, name: string) =>
      JSON.stringify(made.find((one) => one.kind === kind && one.metadata.name === name));
    for (const name of ['oplab-gateway', 'oplab-controller']) {
      expect(text('Deployment', name)).toMatch(/"root-login".*"hq\.oplab-system\.svc"/);
    }
    expect(text('ClusterRole', 'oplab-controller')).toContain('"resourceNames":["root-login"]');
    expect(text('Service', 'hq')).toContain('"targetPort":"canary"');
    expect(text('AgentClass', 'default')).toContain('"allowHoles":["internet"]');
    await expect(renderChart({ agentClass: { allowHoles: ['everything'] } })).rejects.toThrow('allowHoles');
  });
});

describe('the audit log', () => {
  const gateway = async (values: object) => {
    const rendered = await renderChart(values);
    const deployment = rendered.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'oplab-gateway',
    );
    const { spec } = z.looseObject({ spec: z.looseObject({ template: z.unknown() }) }).parse(deployment);
    const pod = z
      .looseObject({
        spec: z.looseObject({
          containers: z.array(
            z.looseObject({ env: z.array(z.looseObject({ name: z.string() })), volumeMounts: z.unknown() }),
          ),
          volumes: z.array(z.looseObject({ name: z.string() })),
        }),
      })
      .parse(spec.template).spec;
    const env = new Map(pod.containers[0]?.env.map(({ name, value }) => [name, value]));
    return { rendered, env, volumes: pod.volumes, text: JSON.stringify(pod) };
  };
  const keyOf = (rendered: KubeObject[]) => {
    const found = rendered.find(({ metadata }) => metadata.name === 'oplab-gateway-audit-key');
    const { data } = z.looseObject({ data: z.object({ 'hmac-key': z.string() }) }).parse(found);
    return Buffer.from(data['hmac-key'], 'base64').toString('utf8');
  };

  it('has a key that the gateway accepts, another one in each installation, and only as a file', async () => {
    const { rendered, text } = await gateway({});
    const key = keyOf(rendered);
    expect(parseDigestKey(key, 'the Secret')).toHaveLength(32);
    expect(keyOf((await gateway({})).rendered)).not.toBe(key);
    expect(text).not.toContain(key);
    // Only the gateway mounts it.
    const mounting = rendered.filter((object) =>
      JSON.stringify(object).includes('"secretName":"oplab-gateway-audit-key"'),
    );
    expect(mounting.map(({ metadata }) => metadata.name)).toEqual(['oplab-gateway']);
  });

  it('uses the key of an existing Secret', async () => {
    const { rendered, volumes } = await gateway({ audit: { keySecret: 'own-key' } });
    expect(volumes).toContainEqual(
      expect.objectContaining({ secret: expect.objectContaining({ secretName: 'own-key' }) }),
    );
    expect(rendered.some(({ metadata }) => metadata.name === 'oplab-gateway-audit-key')).toBe(false);
  });

  it('has a signing key that the gateway accepts, which only the gateway mounts', async () => {
    const { rendered, env } = await gateway({});
    const secret = rendered.find(({ metadata }) => metadata.name === 'oplab-gateway-signing');
    const { data } = z.looseObject({ data: z.object({ 'signing.key': z.string() }) }).parse(secret);
    const pem = Buffer.from(data['signing.key'], 'base64').toString('utf8');
    const name = z.string().parse(env.get('OPLAB_SIGNING_NAME'));
    expect(name).toBe(`oplab.dev/audit/${SYSTEM}`);
    expect(parseSigner(name, pem, 'the Secret').verifier.name).toBe(name);
    const mounting = rendered.filter((object) => JSON.stringify(object).includes('oplab-gateway-signing'));
    expect(mounting.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'Secret oplab-gateway-signing',
      'Deployment oplab-gateway',
    ]);
    const anchor = rendered.find(({ metadata }) => metadata.name === 'oplab-audit-anchor');
    expect(anchor).toMatchObject({
      kind: 'ConfigMap',
      metadata: { annotations: { 'helm.sh/resource-policy': 'keep' } },
    });
    expect(anchor).not.toHaveProperty('data');
  });

  it('is signed with an existing key, under a name, and accepts earlier keys', async () => {
    const previous = parseSigner(
      'old',
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      'test',
    ).verifier.vkey;
    const signing = { keySecret: 'own-signing', name: 'example.com/log', previousKeys: [previous] };
    const { rendered, env, volumes } = await gateway({ audit: { signing } });
    expect(volumes).toContainEqual(
      expect.objectContaining({ secret: expect.objectContaining({ secretName: 'own-signing' }) }),
    );
    expect(rendered.some(({ metadata }) => metadata.name === 'oplab-gateway-signing')).toBe(false);
    expect(Object.fromEntries(env)).toMatchObject({
      OPLAB_SIGNING_NAME: 'example.com/log',
      OPLAB_SIGNING_PREVIOUS_KEYS: previous,
    });
  });

  it('passes limits and retention to the gateway, and by default no retention', async () => {
    const audit = { session: { maxMebibytes: 8, maxEntries: 500 }, retention: '90d' };
    expect(Object.fromEntries((await gateway({ audit })).env)).toMatchObject({
      OPLAB_AUDIT_SESSION_BYTES: String(8 * 1024 * 1024),
      OPLAB_AUDIT_SESSION_ENTRIES: '500',
      OPLAB_AUDIT_RETENTION: '90d',
    });
    const { env } = await gateway({});
    expect(env.get('OPLAB_AUDIT_SESSION_BYTES')).toBe(String(64 * 1024 * 1024));
    expect(env.has('OPLAB_AUDIT_RETENTION')).toBe(false);
  });
});
