// Renewal: what is due is renewed, and at every moment old and new files still connect.

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import tls from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import { makeAuthority, type TestAuthority } from '../../../test/support/authority.ts';
import type { KubeClient, ObjectRef } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { kubeObject } from '../../kube/object.ts';
import type { Resource } from '../../kube/resources.ts';
import { reissueCertificate } from '../../net/reissue-certificate.ts';
import { authorityOf } from './authority.ts';
import { withAuthority } from './renewal.ts';
import { CertificateRenewer } from './renewer.ts';

const DAY = 24 * 3600_000;
const installation = { agentsNamespace: 'agents', systemNamespace: 'system', dockerNamespace: 'docker' };
const CA = 'Secret system/oplab-docker-ca';
const SERVER = 'Secret docker/oplab-docker-socket-tls';
const CLIENT = 'Secret system/oplab-docker-client';

type Files = Readonly<Record<string, string>>;
type State = Readonly<Record<string, Files>>;

/** The same certificate with days before and after now. TLS takes no other clock than the real one. */
function dated(certificate: string, ca: TestAuthority, from: number, to: number): string {
  return reissueCertificate({
    certificate,
    publicKey: new X509Certificate(certificate).publicKey,
    issuer: ca.cert,
    issuerKey: createPrivateKey(ca.key),
    notBefore: new Date(Date.now() - from * DAY),
    notAfter: new Date(Date.now() + to * DAY),
  });
}

function authority(from: number, to: number): TestAuthority {
  // With keys that are quickly made. The chart's are RSA: test/api/certificates.test.ts renews those.
  const made = makeAuthority('oplab-docker-ca', 'ec');
  return { ...made, cert: dated(made.cert, made, from, to) };
}

function leaf(ca: TestAuthority, from: number, to: number, trusted = ca.cert): Files {
  const { cert, key } = ca.issue('gateway');
  return { 'tls.crt': dated(cert, ca, from, to), 'tls.key': key, 'ca.crt': trusted };
}

const secretOf = ({ cert, key }: TestAuthority): Files => ({ 'tls.crt': cert, 'tls.key': key });

/** The API server, with a copy of everything after each write. */
class Cluster {
  readonly states: State[];
  constructor(first: State) {
    this.states = [first];
  }

  get now(): State {
    return this.states.at(-1) ?? {};
  }

  get(resource: Resource, ref: ObjectRef) {
    const data = this.now[`${resource.kind} ${ref.namespace}/${ref.name}`];
    if (data === undefined) return Promise.reject(new KubeError(404, 'NotFound', 'not found'));
    const shown = resource.kind === 'Secret' ? mapped(data, (text) => Buffer.from(text).toString('base64')) : data;
    return Promise.resolve(kubeObject.parse({ metadata: { ...ref, resourceVersion: '1' }, data: shown }));
  }

  readonly patch: KubeClient['patch'] = (resource, ref, patch) => {
    const name = `${resource.kind} ${ref.namespace}/${ref.name}`;
    const { data, metadata } = Object(patch);
    expect(metadata).toEqual({ resourceVersion: '1' });
    const text = resource.kind === 'Secret' ? mapped(data, (value) => Buffer.from(value, 'base64').toString()) : data;
    this.states.push({ ...this.now, [name]: { ...this.now[name], ...text } });
    return this.get(resource, ref);
  };
}

const mapped = (data: Files, change: (text: string) => string): Files =>
  Object.fromEntries(Object.entries(data).map(([name, text]) => [name, change(text)]));

async function renew(cluster: Cluster, name: 'docker' | 'gateway' = 'docker') {
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const [onRenewed, onFailed] = [vi.fn(), vi.fn()];
  const authorities = [authorityOf(name, installation)];
  const renewer = new CertificateRenewer(
    { authorities, onRenewed, onFailed },
    { client: { get: cluster.get.bind(cluster), patch: cluster.patch }, log, now: () => new Date() },
  );
  const hasSucceeded = await renewer.renewAll();
  return { hasSucceeded, renewed: onRenewed.mock.calls.flat(), failed: onFailed.mock.calls.flat(), log };
}

/** Whether both sides accept each other, with mutual TLS. */
async function connects(server: Files, client: Files): Promise<boolean> {
  const files = ({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca }: Files) => ({ cert, key, ca });
  const listening = tls.createServer({ ...files(server), requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.on('error', () => undefined).end('hello');
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    const socket = tls.connect({ ...files(client), host: '127.0.0.1', port, servername: 'localhost' });
    // The server's verdict about the client comes with its first bytes.
    const refused = once(socket, 'close').then(() => []);
    const [bytes] = await Promise.race([once(socket, 'data'), refused]);
    socket.destroy();
    return String(bytes) === 'hello';
  } catch {
    return false;
  } finally {
    listening.close();
  }
}

/** All pairs of states that a server and a client may hold at once, and that do not connect. */
async function broken(states: readonly State[]): Promise<string[]> {
  const found: string[] = [];
  for (const [s, { [SERVER]: server = {} }] of states.entries())
    for (const [c, { [CLIENT]: client = {} }] of states.entries())
      if (!(await connects(server, client))) found.push(`server ${s}, client ${c}`);
  return found;
}

const serial = (files?: Files) => new X509Certificate(files?.['tls.crt'] ?? '').serialNumber;

describe('the renewal', () => {
  it('leaves alone what has more than a third of its life', async () => {
    const ca = authority(1200, 2450);
    const cluster = new Cluster({ [CA]: secretOf(ca), [SERVER]: leaf(ca, 240, 125), [CLIENT]: leaf(ca, 1, 364) });
    expect(await renew(cluster)).toMatchObject({ hasSucceeded: true, renewed: [] });
    expect(cluster.states).toHaveLength(1);
  });

  it('renews each leaf that is due, and everybody still connects', async () => {
    const ca = authority(1200, 2450);
    const cluster = new Cluster({ [CA]: secretOf(ca), [SERVER]: leaf(ca, 250, 115), [CLIENT]: leaf(ca, 360, 5) });
    const before = cluster.now;
    const { renewed, log } = await renew(cluster);
    expect(renewed).toEqual(['oplab-docker-socket-tls', 'oplab-docker-client']);
    expect(log.info.mock.calls.map(([, text]) => text)).toContain('the certificate in oplab-docker-client was renewed');
    expect(cluster.states).toHaveLength(3);
    expect(await broken(cluster.states)).toEqual([]);
    for (const name of [SERVER, CLIENT]) expect(serial(cluster.now[name])).not.toBe(serial(before[name]));
    expect(JSON.stringify(log.info.mock.calls)).not.toMatch(/PRIVATE|BEGIN/);
    expect((await renew(cluster)).renewed).toEqual([]);
  });

  it('renews a CA with its key, and everybody still connects', async () => {
    const ca = authority(2500, 1100);
    const cluster = new Cluster({ [CA]: secretOf(ca), [SERVER]: leaf(ca, 250, 115), [CLIENT]: leaf(ca, 1, 364) });
    const { renewed } = await renew(cluster);
    expect(renewed).toEqual(['oplab-docker-ca', 'oplab-docker-socket-tls']);
    const [first, last] = [cluster.states[0]?.[CA], cluster.now[CA]];
    expect(last?.['tls.key']).toBe(first?.['tls.key']);
    expect(serial(last)).not.toBe(serial(first));
    for (const name of [SERVER, CLIENT]) expect(cluster.now[name]?.['ca.crt']).toBe(last?.['tls.crt']);
    expect(cluster.states).toHaveLength(4);
    expect(await broken(cluster.states)).toEqual([]);
  });

  it('does what is left after a crash between two writes', async () => {
    const ca = authority(2500, 1100);
    const cluster = new Cluster({ [CA]: secretOf(ca), [SERVER]: leaf(ca, 250, 115), [CLIENT]: leaf(ca, 250, 115) });
    await renew(cluster);
    const all = new Set(cluster.states);
    for (const state of cluster.states) {
      const again = new Cluster(state);
      expect((await renew(again)).hasSucceeded).toBe(true);
      expect((await renew(again)).renewed).toEqual([]);
      all.add(again.now);
    }
    expect(await broken([...all])).toEqual([]);
  });

  it('moves to a CA with a new key only when it has been published for a day', async () => {
    const lost = authority(3000, 600);
    const young = authority(0.9, 3649);
    const both = withAuthority(lost.cert, young.cert, Date.now());
    const known = { [SERVER]: leaf(lost, 300, 60), [CLIENT]: leaf(lost, 300, 60) };
    const upgraded = mappedTrust(known, both);
    const early = new Cluster({ ...upgraded, [CA]: secretOf(young) });
    expect((await renew(early)).renewed).toEqual([]);
    expect(await broken([known, ...early.states])).toEqual([]);

    const old = { ...young, cert: dated(young.cert, young, 1.1, 3649) };
    const late = new Cluster({ ...upgraded, [CA]: secretOf(old) });
    expect((await renew(late)).renewed).toEqual(['oplab-docker-socket-tls', 'oplab-docker-client']);
    expect(await broken(late.states)).toEqual([]);
    // This is why it waits.
    expect(await broken([known, late.now])).toEqual(['server 0, client 1', 'server 1, client 0']);
  });

  it("publishes the gateway's CA to the agents", async () => {
    const ca = authority(2500, 1100);
    const bundle = 'ConfigMap agents/oplab-gateway-ca';
    const cluster = new Cluster({
      'Secret system/oplab-gateway-ca': secretOf(ca),
      'Secret system/oplab-gateway-tls': leaf(ca, 1, 364),
      [bundle]: { 'ca.crt': `\n${ca.cert}\n` },
    });
    expect((await renew(cluster, 'gateway')).renewed).toEqual(['oplab-gateway-ca']);
    expect(cluster.now[bundle]?.['ca.crt']).toBe(cluster.now['Secret system/oplab-gateway-ca']?.['tls.crt']);
  });

  it('names the Secret and the reason if it fails, and repeats no key', async () => {
    const ca = authority(1200, 2450);
    const other = authority(1200, 2450);
    const due = leaf(ca, 360, 5);
    const cases: readonly [State, string][] = [
      [{ [SERVER]: due, [CLIENT]: due }, `${CA}: not found`],
      [{ [CA]: { 'tls.crt': ca.cert }, [SERVER]: due, [CLIENT]: due }, `${CA}: it has no certificate`],
      [
        { [CA]: { 'tls.crt': ca.cert, 'tls.key': other.key }, [SERVER]: due, [CLIENT]: due },
        `${SERVER}: the CA's key does not match its certificate`,
      ],
      [{ [CA]: secretOf(ca), [SERVER]: leaf(ca, 1, 364) }, `${CLIENT}: not found`],
    ];
    for (const [state, message] of cases) {
      const cluster = new Cluster(state);
      const { hasSucceeded, failed, log } = await renew(cluster);
      expect({ hasSucceeded, failed }).toEqual({ hasSucceeded: false, failed: ['docker'] });
      expect(log.warn).toHaveBeenCalledWith(
        { authority: 'docker', error: message },
        'certificates could not be renewed; it will be tried again',
      );
      expect(cluster.states).toHaveLength(1);
    }
  });
});

/** What the chart makes of the Secrets of a release whose CA had no Secret. */
function mappedTrust(state: State, trusted: string): State {
  return Object.fromEntries(Object.entries(state).map(([name, files]) => [name, { ...files, 'ca.crt': trusted }]));
}
