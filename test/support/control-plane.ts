// A real kube-apiserver with etcd on loopback and without nodes, for the tests in test/api.
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { ensureTool } from '../../hack/toolchain/tools.ts';

/** How a control plane is started. */
export interface ControlPlaneOptions {
  /** An empty folder of the caller for data, keys, logs and the kubeconfig. */
  readonly dir: string;
  readonly signal?: AbortSignal;
  /**
   * Starts kube-controller-manager too, with these controllers (its `--controllers`), e.g.
   * `namespace-controller,serviceaccount-controller,garbage-collector-controller` or `*`.
   */
  readonly controllers?: string;
  /** The file in which the API server records what agents do, as that of the cluster for tests. */
  readonly auditLog?: string;
}

/** A running control plane. */
export interface ControlPlane {
  /** Path of a kubeconfig of a member of system:masters. */
  readonly kubeconfig: string;
  /** `https://127.0.0.1:<port>` */
  readonly url: string;
  /** Path of the certificates to trust, PEM. */
  readonly caFile: string;
  /** The administrator's bearer token. */
  readonly token: string;
  /** Ends all processes and waits for them. May be called more than once. */
  stop(): Promise<void>;
}

/** The issuer of service account tokens here, and their default audience. */
export const serviceAccountIssuer = 'https://kubernetes.default.svc.cluster.local';

const readyWithinMs = 90_000;
const auditPolicy = path.join(import.meta.dirname, '../../hack/cluster/manifests/audit-policy.yaml');

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  // All ports are opened before the first is closed, so that no two are the same.
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A kubeconfig with one cluster and one bearer token. */
export function formatKubeconfig(cluster: { url: string; caFile: string; token: string }): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: cluster.url, 'certificate-authority': cluster.caFile } }],
    users: [{ name: 'admin', user: { token: cluster.token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  });
}

/** Status code of `GET /readyz`, or 0 while nothing answers. */
async function readyz(url: string, ca: Buffer, token: string): Promise<number> {
  return new Promise((resolve) => {
    const request = https.get(
      `${url}/readyz`,
      { ca, headers: { authorization: `Bearer ${token}` }, agent: false },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    );
    request.setTimeout(2000, () => request.destroy());
    request.once('error', () => resolve(0));
  });
}

/**
 * Starts etcd and kube-apiserver (RBAC on; token requests and reviews, admission policies and
 * server-side apply as in a real cluster). Ready in a few seconds once the binaries are in the
 * cache.
 * @throws OplabError OPLAB_TOOL_MISSING without the binaries and without Go; Error
 * with the last log lines.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { dir, signal, auditLog } = options;
  const wanted = ['etcd', 'kube-apiserver', ...(options.controllers === undefined ? [] : ['kube-controller-manager'])];
  const binaries = await Promise.all(wanted.map((tool) => ensureTool(tool, { ...(signal && { signal }) })));
  const [etcd = '', apiserver = '', controllerManager] = binaries;
  await mkdir(dir, { recursive: true });
  const at = (name: string): string => path.join(dir, name);
  const [client = 0, peer = 0, secure = 0] = await freePorts(3);
  const token = randomBytes(24).toString('hex');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(at('service-account.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(at('tokens.csv'), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });

  const children: ChildProcess[] = [];
  const start = (name: string, binary: string, args: readonly string[]): ChildProcess => {
    const log = openSync(at(`${name}.log`), 'a', 0o600);
    const child = spawn(binary, args, { stdio: ['ignore', log, log], cwd: dir });
    // The caller that waits reads the exit code. Without a listener, a missing binary would end our
    // process.
    child.once('error', () => undefined);
    children.push(child);
    return child;
  };
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL');
  };
  const stop = async (): Promise<void> => {
    process.off('exit', killAll);
    signal?.removeEventListener('abort', killAll);
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      // No data here needs a graceful shutdown, and that of kube-apiserver takes many seconds.
      child.kill('SIGKILL');
      await ended;
    }
  };
  process.on('exit', killAll);
  signal?.addEventListener('abort', killAll, { once: true });

  const fail = async (what: string, name: string): Promise<never> => {
    await stop();
    const tail = (await readFile(at(`${name}.log`), 'utf8').catch(() => '')).trim().split('\n').slice(-8).join('\n');
    throw new Error(`${what} (log: ${at(`${name}.log`)}):\n${tail}`);
  };

  const etcdUrl = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const store = start('etcd', etcd, [
    '--name=test',
    `--data-dir=${at('etcd')}`,
    '--log-level=warn',
    '--unsafe-no-fsync',
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=test=${peerUrl}`,
  ]);
  const server = start('kube-apiserver', apiserver, [
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${secure}`,
    // Without a given certificate it signs its own, for 127.0.0.1 and localhost, with a CA that it
    // appends.
    `--cert-dir=${at('certificates')}`,
    '--authorization-mode=RBAC',
    `--token-auth-file=${at('tokens.csv')}`,
    '--allow-privileged=true',
    `--service-account-issuer=${serviceAccountIssuer}`,
    `--service-account-key-file=${at('service-account.key')}`,
    `--service-account-signing-key-file=${at('service-account.key')}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    '--endpoint-reconciler-type=none',
    '--shutdown-delay-duration=0s',
    ...(auditLog === undefined ? [] : [`--audit-policy-file=${auditPolicy}`, `--audit-log-path=${auditLog}`]),
  ]);
  const url = `https://127.0.0.1:${secure}`;
  const caFile = at('certificates/apiserver.crt');
  const until = Date.now() + readyWithinMs;
  for (;;) {
    signal?.throwIfAborted();
    if (store.exitCode !== null) await fail('etcd ended', 'etcd');
    if (server.exitCode !== null) await fail('kube-apiserver ended', 'kube-apiserver');
    if (Date.now() > until) await fail(`kube-apiserver is not ready after ${readyWithinMs / 1000} s`, 'kube-apiserver');
    const ca = await readFile(caFile).catch(() => undefined);
    if (ca !== undefined && (await readyz(url, ca, token)) === 200) break;
    await sleep(100);
  }
  const kubeconfig = at('kubeconfig');
  await writeFile(kubeconfig, formatKubeconfig({ url, caFile, token }), { mode: 0o600 });
  if (controllerManager !== undefined)
    start('kube-controller-manager', controllerManager, [
      `--kubeconfig=${kubeconfig}`,
      '--leader-elect=false',
      '--secure-port=0',
      `--controllers=${options.controllers}`,
      `--service-account-private-key-file=${at('service-account.key')}`,
      `--root-ca-file=${caFile}`,
    ]);
  return { kubeconfig, url, caFile, token, stop };
}
