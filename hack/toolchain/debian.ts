// Debian root file systems and unpacked packages for local images, made by mmdebstrap and cached.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../child.ts';
import { ensurePackages } from './apt.ts';
import { contentKey } from './build-key.ts';
import { cached, cachePath } from './cache.ts';
import { type Layer, readLayer } from './image-archive.ts';

const suite = 'bookworm';

interface DebianRoot {
  readonly include: readonly string[];
  /** Shell lines that finish the root; `$1` is its path. */
  readonly hooks: readonly string[];
  /** Packages that are unpacked beside the root, for single files out of them. */
  readonly unpack?: readonly string[];
}

/** User and group 65532 with a home: what our images run as. */
const oplabUser = [
  'echo "oplab:x:65532:65532:oplab:/home/oplab:/bin/bash" >> "$1/etc/passwd"',
  'echo "oplab:x:65532:" >> "$1/etc/group"',
  'install -d -m 0755 -o 65532 -g 65532 "$1/home/oplab"',
];

/** Documentation and package lists are dead weight in an image. */
const slim = [
  'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/var/lib/apt/lists/* "$1"/var/cache/*',
];

/** The roots by name. */
export const debianRoots = {
  /** A kind node: what kind's own base image installs, and ipset for the firewall. */
  'kind-node': {
    include: [
      ...[
        'systemd',
        'dbus',
        'conntrack',
        'iptables',
        'nftables',
        'ipset',
        'iproute2',
        'ethtool',
        'util-linux',
        'mount',
        'kmod',
      ],
      ...[
        'libseccomp2',
        'pigz',
        'e2fsprogs',
        'ca-certificates',
        'curl',
        'jq',
        'procps',
        'runc',
        'hostname',
        'socat',
        'rsync',
      ],
    ],
    hooks: [
      // The same pruning as kind's base image does: a container needs none of these units.
      'find "$1/lib/systemd/system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete',
      'rm -f "$1"/lib/systemd/system/multi-user.target.wants/* "$1"/etc/systemd/system/*.wants/*',
      'rm -f "$1"/lib/systemd/system/local-fs.target.wants/* "$1"/lib/systemd/system/basic.target.wants/*',
      'rm -f "$1"/lib/systemd/system/sockets.target.wants/*udev* "$1"/lib/systemd/system/sockets.target.wants/*initctl*',
      'echo ReadKMsg=no >> "$1/etc/systemd/journald.conf"',
      'ln -sf /usr/lib/systemd/systemd "$1/usr/sbin/init"',
      ...slim,
    ],
  },
  /** Under the cluster's own images that call iptables, ipset or a shell. */
  'oplab-system-base': {
    include: ['iptables', 'nftables', 'ipset', 'conntrack', 'iproute2', 'kmod'],
    hooks: [...slim],
  },
  /** Under the images of oplab and of the patient. */
  'oplab-base': {
    include: ['ca-certificates', 'tini'],
    hooks: [...oplabUser, ...slim],
    unpack: ['prometheus', 'prometheus-alertmanager', 'docker.io'],
  },
  /** The sandbox: the tools of an engineer on call. */
  'oplab-sandbox-base': {
    include: [
      'bash',
      'curl',
      'jq',
      'dnsutils',
      'iproute2',
      'iputils-ping',
      'procps',
      'less',
      'vim-tiny',
      'ca-certificates',
      'tini',
      'openssl',
      'netcat-openbsd',
    ],
    hooks: [...oplabUser, ...slim],
  },
} as const satisfies Record<string, DebianRoot>;

export type DebianRootName = keyof typeof debianRoots;

function isLayer(value: unknown): value is { size: number; digest: string } {
  return typeof value === 'object' && value !== null && 'size' in value && 'digest' in value;
}

function rootKey(name: DebianRootName): string {
  return contentKey({ suite, ...debianRoots[name], arch: process.arch });
}

/** Roots that are not in the cache yet. */
export function missingRoots(): DebianRootName[] {
  const names: DebianRootName[] = ['kind-node', 'oplab-system-base', 'oplab-base', 'oplab-sandbox-base'];
  return names.filter((name) => !existsSync(cachePath(`debian-${name}`, rootKey(name))));
}

async function ensureRootFolder(name: DebianRootName, signal?: AbortSignal): Promise<string> {
  const root: DebianRoot = debianRoots[name];
  return cached({
    name: `debian-${name}`,
    key: rootKey(name),
    signal,
    make: async (dir) => {
      await ensurePackages(['mmdebstrap'], signal);
      const file = path.join(dir, 'rootfs.tar');
      const args = ['--mode=root', '--variant=minbase', `--include=${root.include.join(',')}`];
      if (root.unpack !== undefined) {
        // Downloaded inside the root, so that the packages are of its release and not of this
        // machine's.
        args.push(
          `--customize-hook=mkdir "$1/debs" && chroot "$1" sh -c 'cd /debs && apt-get download ${root.unpack.join(' ')}'`,
        );
        args.push(`--customize-hook=mkdir "${dir}/debs" && cp "$1"/debs/*.deb "${dir}/debs/" && rm -r "$1/debs"`);
      }
      for (const hook of root.hooks) args.push(`--customize-hook=${hook}`);
      await run('mmdebstrap', [...args, suite, file], { signal, env: { TMPDIR: '/var/tmp' } });
      for (const wanted of root.unpack ?? []) {
        const deb = (await readdir(path.join(dir, 'debs'))).find((found) => found.startsWith(`${wanted}_`));
        if (deb === undefined) throw new Error(`the Debian package ${wanted} was not downloaded`);
        await mkdir(path.join(dir, 'packages', wanted), { recursive: true });
        await run('dpkg-deb', ['-x', path.join(dir, 'debs', deb), path.join(dir, 'packages', wanted)]);
      }
      await rm(path.join(dir, 'debs'), { recursive: true, force: true });
      const { size, digest } = await readLayer(file);
      await writeFile(path.join(dir, 'layer.json'), JSON.stringify({ size, digest }));
    },
  });
}

/** A root as the lowest layer of an image. */
export async function ensureRoot(name: DebianRootName, signal?: AbortSignal): Promise<Layer> {
  const dir = await ensureRootFolder(name, signal);
  const parsed: unknown = JSON.parse(await readFile(path.join(dir, 'layer.json'), 'utf8'));
  if (!isLayer(parsed)) throw new Error(`${dir}/layer.json is damaged; remove ${dir}`);
  return { file: path.join(dir, 'rootfs.tar'), size: parsed.size, digest: parsed.digest };
}

/** The folder with the unpacked files of a Debian package (`usr/bin/…` below it). */
export async function ensureUnpacked(name: string, signal?: AbortSignal): Promise<string> {
  return path.join(await ensureRootFolder('oplab-base', signal), 'packages', name);
}
