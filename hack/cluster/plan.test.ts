// The pure parts of the cluster scripts: decisions from an observed state.

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { policyInNode } from './audit-log.ts';
import { hasCapability } from './capabilities.ts';
import { daemonConfig, removeStalePid } from './docker.ts';
import { kindConfig } from './kind-config.ts';
import { parseImageList } from './load-images.ts';
import { baseSpec } from './node-image.ts';
import { isUp, readiness } from './observe.ts';
import { decide } from './registry.ts';
import { systemImages } from './system-images.ts';

test('a missing capability is seen in the bounding set', () => {
  expect(hasCapability('Name:\tx\nCapBnd:\t000001fffeffffff\n', 24n)).toBe(false);
  expect(hasCapability('Name:\tx\nCapBnd:\t000001ffffffffff\n', 24n)).toBe(true);
  expect(hasCapability('nothing is printed', 24n)).toBe(true);
});

test('the daemon keeps the configuration of its owner and gets our runtime only where it is needed', () => {
  const own = { 'registry-mirrors': ['https://mirror.example'], runtimes: { other: { path: '/o' } } };
  expect(daemonConfig(own, undefined)).toEqual(own);
  expect(daemonConfig(own, '/w')).toEqual({
    'registry-mirrors': ['https://mirror.example'],
    runtimes: { other: { path: '/o' }, oplab: { path: '/w' } },
    'default-runtime': 'oplab',
  });
  expect(daemonConfig(undefined, undefined)).toEqual({});
});

test.runIf(process.platform === 'linux')(
  'a pid file of a process that is gone or is another program is removed, a true one stays',
  async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'oplab-pid-'));
    const file = path.join(dir, 'pid');
    const ownName = (await readFile(`/proc/${process.pid}/comm`, 'utf8')).trim();
    await writeFile(file, `${process.pid}\n`);
    await removeStalePid(file, ownName);
    expect(existsSync(file)).toBe(true);
    await removeStalePid(file, 'dockerd');
    expect(existsSync(file)).toBe(false);
    await writeFile(file, '4194305\n');
    await removeStalePid(file, 'dockerd');
    expect(existsSync(file)).toBe(false);
    await rm(dir, { recursive: true });
  },
);

const auditPolicy = '/cache/policy.yaml';

test('the node limits the processes of a pod, and brings its own network only in our own image', () => {
  const own = parse(kindConfig({ ownImage: true, runtimeWrapper: '/cache/oci-runtime', auditPolicy }));
  expect(own.networking).toMatchObject({ disableDefaultCNI: true, kubeProxyMode: 'nftables' });
  expect(parse(own.nodes[0].kubeadmConfigPatches[0])).toMatchObject({
    kind: 'KubeletConfiguration',
    podPidsLimit: 1024,
  });
  expect(own.nodes[0].extraMounts[0].hostPath).toBe('/cache/oci-runtime');
  expect(own.containerdConfigPatches[0]).toContain(own.nodes[0].extraMounts[0].containerPath);

  const public_ = parse(kindConfig({ ownImage: false, runtimeWrapper: undefined, auditPolicy }));
  expect(public_.networking).not.toHaveProperty('disableDefaultCNI');
  expect(public_).not.toHaveProperty('containerdConfigPatches');
  const policy = { hostPath: '/cache/policy.yaml', containerPath: policyInNode, readOnly: true };
  expect(public_.nodes[0].extraMounts).toEqual([policy]);
  const withDocker = parse(
    kindConfig({ ownImage: false, runtimeWrapper: undefined, dockerSocket: '/d.sock', auditPolicy }),
  );
  expect(withDocker.nodes[0].extraMounts).toEqual([
    policy,
    { hostPath: '/d.sock', containerPath: '/oplab/docker.sock' },
  ]);
  expect(parse(public_.nodes[0].kubeadmConfigPatches[0])).toMatchObject({ podPidsLimit: 1024 });
});

test('the API server keeps an audit log by the mounted policy, with either configuration of kubeadm', () => {
  const made = parse(kindConfig({ ownImage: false, runtimeWrapper: undefined, auditPolicy }));
  const patches: string[] = made.nodes[0].kubeadmConfigPatches;
  const [older, newer] = patches.map((patch) => parse(patch)).filter(({ kind }) => kind === 'ClusterConfiguration');
  expect(older.apiVersion).toBe('kubeadm.k8s.io/v1beta3');
  expect(older.apiServer.extraArgs).toMatchObject({ 'audit-policy-file': policyInNode });
  expect(newer.apiVersion).toBe('kubeadm.k8s.io/v1beta4');
  const named = Object.fromEntries(
    newer.apiServer.extraArgs.map((one: Record<string, string>) => [one.name, one.value]),
  );
  expect(named).toEqual({ 'runtime-config': '', ...older.apiServer.extraArgs });
  // Each file that the API server is told of is below a folder that its pod mounts from the node.
  const mounted: { mountPath: string; hostPath: string }[] = older.apiServer.extraVolumes;
  expect(newer.apiServer.extraVolumes).toEqual(mounted);
  for (const file of [named['audit-policy-file'], named['audit-log-path']])
    expect(mounted.some(({ mountPath, hostPath }) => mountPath === hostPath && file?.startsWith(`${mountPath}/`))).toBe(
      true,
    );
});

test('the registry is asked only when nobody has said what to do, and nonsense is refused', async () => {
  const never = async (): Promise<boolean> => expect.unreachable();
  expect(await decide('pull', never)).toBe(true);
  expect(await decide('build', never)).toBe(false);
  expect(await decide(undefined, async () => true)).toBe(true);
  await expect(decide('both', never)).rejects.toThrow('OPLAB_NODE_IMAGE');
});

test('every image that kubeadm asks for has a recipe under that very name; an unknown one is an error', () => {
  const required = [
    'registry.k8s.io/kube-proxy:v1',
    'registry.k8s.io/coredns/coredns:v1.14.2',
    'registry.k8s.io/etcd:3',
  ];
  const tags = systemImages(required).map((image) => image.tag);
  expect(tags).toEqual(expect.arrayContaining([...required, 'registry.k8s.io/pause:3.10']));
  expect(() => systemImages(['registry.k8s.io/new-thing:v1'])).toThrow('new-thing');
});

test('the list of images in the node is read with digests', () => {
  const printed =
    'REF TYPE DIGEST SIZE PLATFORMS LABELS\noplab.dev/x:dev application/vnd.oci.image.manifest.v1+json sha256:abc 1.0 MiB linux/amd64 -\n';
  expect([...parseImageList(printed)]).toEqual([['oplab.dev/x:dev', 'sha256:abc']]);
});

test('containers start without rlimits and with the hook of kind', () => {
  const spec = JSON.parse(baseSpec('{"process":{"rlimits":[{}],"cwd":"/"},"hooks":{}}'));
  expect(spec.process).toEqual({ cwd: '/' });
  expect(spec.hooks.createContainer).toEqual([{ path: '/kind/bin/mount-product-files.sh' }]);
});

const node = { kind: 'Node', status: { conditions: [{ type: 'Ready', status: 'True' }] } };
const dns = { kind: 'Deployment', metadata: { name: 'coredns' }, status: { readyReplicas: 1 } };
const storage = [
  { kind: 'Deployment', metadata: { name: 'local-path-provisioner' }, status: { readyReplicas: 1 } },
  { kind: 'StorageClass', metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } },
];
const firewall = (ready: number) => ({
  kind: 'DaemonSet',
  metadata: { name: 'kube-router' },
  status: { numberReady: ready, desiredNumberScheduled: 1 },
});

test('a cluster without a running NetworkPolicy engine is not up', () => {
  const seen = { docker: true, node: 'running', kubeconfig: true, api: true };
  expect(isUp({ ...seen, ...readiness({ items: [node, dns, ...storage, firewall(1)] }) })).toBe(true);
  expect(isUp({ ...seen, ...readiness({ items: [node, dns, ...storage, firewall(0)] }) })).toBe(false);
  expect(isUp({ ...seen, ...readiness({ items: [node, dns, ...storage] }) })).toBe(false);
  expect(isUp({ ...seen, ...readiness({}) })).toBe(false);
});
