// The chart's certificates, renewed by a controller with the chart's rights against a real API server.

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import * as z from 'zod';
import { AUTHORITIES, authorityOf } from '../../src/controller/certificates/authority.ts';
import { configureRenewal } from '../../src/controller/certificates/configure.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, SECRETS } from '../../src/kube/resources.ts';
import { followCertificates, readCertificates } from '../../src/net/certificate-files.ts';
import { reissueCertificate } from '../../src/net/reissue-certificate.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import { AGENTS, type ApiServer, SYSTEM, startApiServer } from '../support/api-server.ts';
import { applyChart, clientAs, renderChart } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { startController } from '../support/running-controller.ts';

const CA = { namespace: SYSTEM, name: 'oplab-gateway-ca' };
const LEAF = { namespace: SYSTEM, name: 'oplab-gateway-tls' };
const BUNDLE = { namespace: AGENTS, name: 'oplab-gateway-ca' };
const installation = { agentsNamespace: AGENTS, systemNamespace: SYSTEM };

const rule = z.object({ resourceNames: z.array(z.string()).optional(), verbs: z.array(z.string()) });

let server: ApiServer;
let asController: KubeClient;
let folder: string;

beforeAll(async () => {
  server = await startApiServer();
  await applyChart(server);
  asController = await clientAs(server, SYSTEM, 'oplab-controller');
  folder = await mkdtemp(path.join(tmpdir(), 'oplab-renewal-'));
}, 300_000);
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** What the chart renders for this API server: with `lookup`, as an upgrade does. */
const render = (...set: string[]) => {
  const how = ['--dry-run=server', '--is-upgrade', '--kubeconfig', server.kubeconfig];
  return renderChart({}, ...how, ...set.flatMap((one) => ['--set', one]));
};

const find = (objects: readonly KubeObject[], kind: string, name: string) =>
  objects.find((object) => object.kind === kind && object.metadata.name === name);

/** The data of a Secret or a ConfigMap as text. */
function textOf(object: KubeObject | undefined): Record<string, string> {
  const entries = Object.entries(Object(object?.data)).map(([name, value]) => [name, String(value)] as const);
  if (object?.kind === 'ConfigMap') return Object.fromEntries(entries);
  return Object.fromEntries(entries.map(([name, value]) => [name, Buffer.from(value, 'base64').toString('utf8')]));
}

const read = async (ref: typeof CA) => textOf(await server.client.get(SECRETS, ref));

async function applyCertificates(objects: readonly KubeObject[]): Promise<void> {
  for (const [resource, ref] of [
    [SECRETS, CA],
    [SECRETS, LEAF],
    [CONFIG_MAPS, BUNDLE],
  ] as const) {
    const object = objects.find(
      ({ kind, metadata }) =>
        kind === resource.kind && metadata.name === ref.name && metadata.namespace === ref.namespace,
    );
    if (object === undefined) throw new Error(`the chart has no ${resource.kind} ${ref.name}`);
    await server.client.apply(resource, object, { fieldManager: 'helm', force: true });
  }
}

/** Replaces the CA's certificate and the leaf by ones that are about to end. */
async function makeOld(): Promise<void> {
  const { 'tls.crt': ca = '', 'tls.key': key = '' } = await read(CA);
  for (const ref of [CA, LEAF]) {
    const certificate = (await read(ref))['tls.crt'] ?? '';
    const { publicKey } = new X509Certificate(certificate);
    const old = reissueCertificate({
      certificate,
      publicKey,
      issuer: ca,
      issuerKey: createPrivateKey(key),
      notBefore: new Date(Date.now() - 3600_000),
      notAfter: new Date(Date.now() + 30_000),
    });
    const data = { 'tls.crt': Buffer.from(old).toString('base64') };
    await server.client.patch(SECRETS, ref, { data });
  }
}

/** Puts the Secret into files, as the kubelet does for the gateway. */
async function mount(): Promise<{ certFile: string; keyFile: string }> {
  const files = { certFile: path.join(folder, 'tls.crt'), keyFile: path.join(folder, 'tls.key') };
  const secret = await read(LEAF);
  await writeFile(files.certFile, secret['tls.crt'] ?? '');
  await writeFile(files.keyFile, secret['tls.key'] ?? '');
  return files;
}

describe('the certificates of the chart', () => {
  it('last a year, under a CA of ten years', async () => {
    const made = await render();
    const days = (pem = '') => {
      const { validFrom, validTo } = new X509Certificate(pem);
      return Math.round((Date.parse(validTo) - Date.parse(validFrom)) / (24 * 3600_000));
    };
    expect(days(textOf(find(made, 'Secret', LEAF.name))['tls.crt'])).toBe(365);
    expect(days(textOf(find(made, 'Secret', CA.name))['tls.crt'])).toBe(3650);
  });

  it.each(AUTHORITIES)('of the CA %s are in the chart, and the controller may renew them', async (name) => {
    const objects = await render(
      'intake.routes[0].name=tikv',
      'intake.routes[0].namespace=tikv',
      'intake.routes[0].prometheus.service=prometheus',
      'docker.endpoints[0].name=local',
      'docker.endpoints[0].socket=true',
    );
    const { secret, leaves, bundles } = authorityOf(name, { ...installation, dockerNamespace: 'oplab-docker' });
    const ca = textOf(find(objects, 'Secret', secret.name));
    const issuer = new X509Certificate(ca['tls.crt'] ?? '');
    for (const ref of leaves) {
      const leaf = textOf(find(objects, 'Secret', ref.name));
      expect(new X509Certificate(leaf['tls.crt'] ?? '').verify(issuer.publicKey), ref.name).toBe(true);
      expect(leaf['ca.crt']).toContain(ca['tls.crt']?.trim());
    }
    const rules = objects
      .filter(({ kind, metadata }) => kind === 'Role' && metadata.name.startsWith('oplab-'))
      .flatMap(({ metadata, rules }) =>
        z
          .array(rule)
          .parse(rules)
          .map((one) => ({ ...one, ...metadata })),
      );
    for (const { namespace, name: wanted } of [secret, ...leaves, ...bundles]) {
      const isAllowed = rules.some(
        (one) =>
          one.namespace === namespace && one.resourceNames?.includes(wanted) === true && one.verbs.includes('patch'),
      );
      expect(isAllowed, `${namespace}/${wanted}`).toBe(true);
    }
    const settings = JSON.stringify(find(objects, 'Deployment', 'oplab-controller'));
    expect(settings).toMatch(new RegExp(`"OPLAB_RENEWED_AUTHORITIES","value":"[a-z,]*\\b${name}\\b`));
  });

  it('are renewed again and again by a controller that may only do this, and no client is refused', async () => {
    await applyCertificates(await render());
    const first = await read(CA);
    const configured = configureRenewal(['gateway'], installation, createRegistry('test'));
    const renewed: string[] = [];
    const renewal = {
      ...configured,
      onRenewed: (name: string) => renewed.push(name),
      lifetimes: { leaf: 6_000, authority: 24_000 },
      everyMs: 300,
    };
    await makeOld();
    const files = await mount();
    const current = readCertificates(files);
    const listening = tls.createServer({ ...current }, (socket) => socket.on('error', () => undefined).end('hello'));
    const stop = new AbortController();
    const logger = { info() {}, warn() {} };
    followCertificates(listening, files, { current, logger, signal: stop.signal, rereadMs: 50 });
    listening.listen(0, '127.0.0.1');
    await once(listening, 'listening');
    const running = await startController(server, { client: asController, renewal });
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const serials = new Set<string>();
    try {
      const until = Date.now() + 20_000;
      while (Date.now() < until) {
        await mount();
        const bundle = textOf(await server.client.get(CONFIG_MAPS, BUNDLE))['ca.crt'] ?? '';
        for (const ca of [first['tls.crt'] ?? '', bundle]) serials.add(await connect(listening, ca));
      }
    } finally {
      await running.stop();
      stop.abort();
      listening.close();
    }
    expect(serials.size).toBeGreaterThanOrEqual(3);
    expect(renewed.filter((name) => name === LEAF.name).length).toBeGreaterThanOrEqual(3);
    expect(renewed).toContain(CA.name);
    expect((await read(CA))['tls.key']).toBe(first['tls.key']);
    expect(running.log.lines.filter((line) => line.startsWith('warn'))).toEqual([]);
    expect(running.log.lines.join('\n')).not.toContain('PRIVATE KEY');
    expect(textOf(await server.client.get(CONFIG_MAPS, BUNDLE))['ca.crt']).toBe((await read(CA))['tls.crt']);
  }, 90_000);

  it('are left alone by an upgrade, also after they were renewed', async () => {
    const [ca, leaf] = [await read(CA), await read(LEAF)];
    const made = await render();
    expect(textOf(find(made, 'Secret', CA.name))).toEqual(ca);
    expect(textOf(find(made, 'Secret', LEAF.name))).toEqual(leaf);
    const bundle = made.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === BUNDLE.name);
    expect(textOf(bundle)['ca.crt']?.trim()).toBe(leaf['ca.crt']?.trim());
  });

  it('of a release whose CA had no Secret stay in use, and the next CA is trusted before it signs', async () => {
    const leaf = await read(LEAF);
    await server.client.delete(SECRETS, CA);
    const made = await render();
    const upgraded = textOf(find(made, 'Secret', LEAF.name));
    const next = textOf(find(made, 'Secret', CA.name))['tls.crt'] ?? '';
    expect(upgraded['tls.crt']).toBe(leaf['tls.crt']);
    expect(upgraded['ca.crt']?.trim()).toBe(`${leaf['ca.crt']?.trim()}\n${next.trim()}`);
    expect(textOf(find(made, 'ConfigMap', BUNDLE.name))['ca.crt']?.trim()).toBe(upgraded['ca.crt']?.trim());
  });

  it('that a user has named are neither made nor renewed, and the controller cannot read them', async () => {
    const made = await render('gateway.tls.existingSecret=mine', 'gateway.tls.ca=-----BEGIN CERTIFICATE-----\nMY CA');
    for (const name of [CA.name, LEAF.name]) expect(find(made, 'Secret', name)).toBeUndefined();
    const text = JSON.stringify([
      made.filter(({ kind, metadata }) => kind === 'Role' && metadata.name === 'oplab-controller'),
      find(made, 'Deployment', 'oplab-controller'),
    ]);
    expect(text).not.toMatch(/oplab-gateway-ca|oplab-gateway-tls|OPLAB_RENEWED_AUTHORITIES/);
    await server.client.create(SECRETS, { metadata: { namespace: SYSTEM, name: 'mine' } });
    const reading = await asController
      .get(SECRETS, { namespace: SYSTEM, name: 'mine' })
      .catch((error: unknown) => error);
    expect(isForbidden(reading)).toBe(true);
  });

  it('cannot be read or written by the gateway, and a failure is counted and repeated', async () => {
    const asGateway = await clientAs(server, SYSTEM, 'oplab-gateway');
    for (const ref of [CA, LEAF]) {
      expect(isForbidden(await asGateway.get(SECRETS, ref).catch((error: unknown) => error))).toBe(true);
    }
    const registry = createRegistry('test');
    const renewal = { ...configureRenewal(['gateway'], installation, registry), everyMs: 200 };
    expect(renewal.authorities).toEqual([authorityOf('gateway', installation)]);
    // The Secret of the CA is gone since the test above.
    const running = await startController(server, { client: asController, renewal });
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    try {
      await eventually(
        async () => /renewal_failures_total\{authority="gateway",process="test"\} [2-9]/.test(await registry.metrics()),
        { what: 'two failures' },
      );
      const warnings = running.log.lines.filter((line) => line.includes('could not be renewed'));
      expect(warnings[0]).toContain('Secret oplab-system/oplab-gateway-ca: ');
    } finally {
      await running.stop();
    }
  });
});

/** The serial number of the server's certificate. @throws if it does not trust the server */
async function connect(listening: tls.Server, ca: string): Promise<string> {
  const address = listening.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const socket = tls.connect({ host: '127.0.0.1', port, ca, servername: `oplab-gateway.${SYSTEM}.svc` });
  await once(socket, 'secureConnect');
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}
