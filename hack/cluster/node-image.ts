// Makes the node image where none can be pulled: kind's base files, Debian, Kubernetes from source.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { output, run, succeeds } from '../child.ts';
import { contentKey } from '../toolchain/build-key.ts';
import { ensureRoot } from '../toolchain/debian.ts';
import { archive, describe, type Image, type LayerEntry, listEntries } from '../toolchain/image-archive.ts';
import { cachedLayer, ensureLocalImage } from '../toolchain/local-images.ts';
import { kubernetesVersion } from '../toolchain/recipes.ts';
import { ensureBuild, ensureTool, findBuild, goBuildKey } from '../toolchain/tools.ts';
import { hasImage } from './docker.ts';
import { nodeRepository } from './names.ts';
import { requiredImages, systemImages } from './system-images.ts';

const conflist = {
  cniVersion: '1.0.0',
  name: 'oplab',
  plugins: [
    // Point to point, so that every packet between two pods is routed and passes the firewall.
    {
      type: 'ptp',
      ipMasq: true,
      ipam: {
        type: 'host-local',
        dataDir: '/run/cni-ipam-state',
        routes: [{ dst: '0.0.0.0/0' }],
        ranges: [[{ subnet: '10.244.0.0/24' }]],
      },
      mtu: 1500,
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
};

/** `systemctl enable` and `mask`, as the links that they make. */
const unitLinks: ReadonlyArray<readonly [string, string]> = [
  ['etc/systemd/system/multi-user.target.wants/kubelet.service', '/etc/systemd/system/kubelet.service'],
  ['etc/systemd/system/multi-user.target.wants/containerd.service', '/etc/systemd/system/containerd.service'],
  [
    'etc/systemd/system/multi-user.target.wants/undo-mount-hacks.service',
    '/etc/systemd/system/undo-mount-hacks.service',
  ],
  ['etc/systemd/system/systemd-binfmt.service', '/dev/null'],
];

/** kind's folder in the Go module cache. */
async function kindModule(signal: AbortSignal | undefined): Promise<string> {
  const found: unknown = JSON.parse(
    await output('go', ['mod', 'download', '-json', 'sigs.k8s.io/kind'], {
      cwd: findBuild('kind').moduleDir,
      env: { GOFLAGS: '-mod=mod' },
      signal,
    }),
  );
  if (typeof found === 'object' && found !== null && 'Dir' in found && typeof found.Dir === 'string') return found.Dir;
  throw new Error('Go does not say where the module sigs.k8s.io/kind is');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The runtime specification of a container: containerd's, without rlimits, with kind's hook. */
export function baseSpec(printed: string): string {
  const spec: unknown = JSON.parse(printed);
  if (!isRecord(spec) || !isRecord(spec.process)) throw new Error('ctr oci spec prints something unexpected');
  const { rlimits: _, ...processSpec } = spec.process;
  const hooks = isRecord(spec.hooks) ? spec.hooks : {};
  return JSON.stringify({
    ...spec,
    process: processSpec,
    hooks: { ...hooks, createContainer: [{ path: '/kind/bin/mount-product-files.sh' }] },
  });
}

async function nodeFiles(signal: AbortSignal | undefined): Promise<LayerEntry[]> {
  const base = path.join(await kindModule(signal), 'images', 'base', 'files');
  const text = (file: string, content: string, mode = 0o644): LayerEntry => ({
    path: file,
    mode,
    content: { bytes: Buffer.from(content) },
  });
  const entries = (
    await Promise.all(['etc', 'kind', 'usr'].map((part) => listEntries(path.join(base, part), part)))
  ).flat();
  // The module cache drops execute bits. kind's own rule: scripts are 0755, everything else 0644.
  const ruled = entries.map((entry) =>
    entry.content !== 'folder' && /^(usr\/local\/bin|kind\/bin)\//.test(entry.path) ? { ...entry, mode: 0o755 } : entry,
  );
  const ctr = await ensureTool('ctr', { signal });
  const storage = await readFile(path.join(import.meta.dirname, 'manifests', 'default-storage.yaml'), 'utf8');
  return [
    ...ruled,
    ...unitLinks.map(([file, link]): LayerEntry => ({ path: file, mode: 0o777, content: { link } })),
    text('etc/containerd/cri-base.json', baseSpec(await output(ctr, ['oci', 'spec'], { signal }))),
    text('etc/cni/net.d/10-oplab.conflist', JSON.stringify(conflist)),
    text('kind/version', kubernetesVersion),
    text('kind/manifests/default-storage.yaml', storage),
    { path: 'etc/kubernetes/manifests', mode: 0o755, content: 'folder' },
  ];
}

async function nodeBinaries(signal: AbortSignal | undefined): Promise<LayerEntry[]> {
  const places: ReadonlyArray<readonly [string, readonly string[]]> = [
    ['usr/bin', ['kubelet', 'kubeadm', 'kubectl']],
    ['usr/local/bin', ['containerd', 'ctr', 'containerd-shim-runc-v2']],
    ['opt/cni/bin', ['loopback', 'ptp', 'host-local', 'portmap']],
  ];
  const dir = await ensureBuild(findBuild('kubelet'), signal);
  const entries = places.flatMap(([place, tools]) =>
    tools.map((tool) => listEntries(path.join(dir, tool), `${place}/${tool}`)),
  );
  return (await Promise.all(entries)).flat();
}

/** The node before its system images are in it. */
async function nodeRoot(signal: AbortSignal | undefined): Promise<Image> {
  const [self, storage] = await Promise.all([
    readFile(import.meta.filename),
    readFile(path.join(import.meta.dirname, 'manifests', 'default-storage.yaml')),
  ]);
  const recipe = [
    { path: 'node-image.ts', content: self },
    { path: 'storage', content: storage },
  ];
  const key = (part: string): string => contentKey({ part, kube: goBuildKey(findBuild('kubelet')) }, recipe);
  const layers = [
    await ensureRoot('kind-node', signal),
    await cachedLayer(key('files'), () => nodeFiles(signal), signal),
    await cachedLayer(key('binaries'), () => nodeBinaries(signal), signal),
  ];
  return {
    tag: 'oplab.dev/kind-node-root:building',
    layers,
    config: {
      Env: ['container=docker', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Entrypoint: ['/usr/local/bin/entrypoint', '/sbin/init'],
      // systemd ends on this signal; SIGTERM makes it restart.
      StopSignal: 'SIGRTMIN+3',
    },
  };
}

/** Removes older node images (over a gigabyte each); Docker refuses to remove one in use. */
async function removeOlder(current: string, signal: AbortSignal | undefined): Promise<void> {
  const listed = await output('docker', ['images', '--format', '{{.Repository}}:{{.Tag}}', nodeRepository], {
    signal,
  });
  for (const reference of listed.split('\n'))
    if (reference !== '' && reference !== current) await run('docker', ['rmi', reference], { allowFailure: true });
}

/** Makes the node image unless it exists: half a minute from the cache. @returns its reference */
export async function ensureNodeImage(
  signal?: AbortSignal,
  note: (text: string) => void = () => undefined,
): Promise<string> {
  const rootImage = await nodeRoot(signal);
  const images: Image[] = [];
  for (const recipe of systemImages(await requiredImages(signal))) images.push(await ensureLocalImage(recipe, signal));
  const key = contentKey([describe(rootImage).digest, ...images.map((image) => [image.tag, describe(image).digest])]);
  const reference = `${nodeRepository}:${key}`;
  if (await hasImage(reference, signal)) return reference;
  note('loading the node root into Docker');
  const options = { signal };
  await run('docker', ['load'], { ...options, input: archive([rootImage]) });
  const container = `oplab-node-build-${randomBytes(4).toString('hex')}`;
  const inside = (...args: string[]): string[] => ['exec', '-i', container, ...args];
  try {
    const flags = ['-d', '--privileged', '--network=none', '--entrypoint=sleep', `--name=${container}`];
    await run('docker', ['run', ...flags, rootImage.tag, 'infinity'], options);
    note('importing the system images');
    await run('docker', ['exec', '-d', container, 'containerd'], options);
    for (let tries = 0; !(await succeeds('docker', inside('ctr', 'version'), options)); tries++) {
      if (tries > 100) throw new Error('containerd does not start in the node image that is being made');
      await sleep(200);
    }
    await run('docker', inside('ctr', '-n', 'k8s.io', 'images', 'import', '--no-unpack', '-'), {
      ...options,
      input: archive(images),
    });
    await run('docker', inside('pkill', '-x', 'containerd'), options);
    while (await succeeds('docker', inside('pgrep', '-x', 'containerd'), options)) await sleep(100);
    note('writing the node image');
    const entrypoint = JSON.stringify(rootImage.config.Entrypoint);
    await run('docker', ['commit', '--change', `ENTRYPOINT ${entrypoint}`, container, reference], options);
    await removeOlder(reference, signal);
    return reference;
  } finally {
    // Also after an abort, so without its signal.
    await run('docker', ['rm', '-f', '-v', container], { allowFailure: true });
    await run('docker', ['rmi', rootImage.tag], { allowFailure: true });
  }
}
