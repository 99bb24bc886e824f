// Probes what the sandbox's own container has: tokens, sockets, mounts, processes, privileges.

import { access, readdir, readFile } from 'node:fs/promises';
import { CONTAINER_PROBES, type ContainerProbeName } from '../api/isolation.ts';
import { errorMessage } from '../errors.ts';
import type { IsolationReport } from './protocol.ts';

type Probe = IsolationReport['probes'][number];

/** What the probes read. */
export interface ContainerFacts {
  /** The content of a file. Rejects if it cannot be read. */
  read(file: string): Promise<string>;
  /** The names in a folder; none if there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
  exists(file: string): Promise<boolean>;
}

const systemFacts: ContainerFacts = {
  read: (file) => readFile(file, 'utf8'),
  list: (folder) => readdir(folder).catch(() => []),
  exists: (file) =>
    access(file).then(
      () => true,
      () => false,
    ),
};

/** What a probe saw: `hole` says what is there that must not be. */
interface Seen {
  readonly hole?: string;
  readonly detail: string;
}

const TOKENS = '/var/run/secrets';
const SOCKETS = [
  ...['/run/docker.sock', '/var/run/docker.sock', '/run/podman/podman.sock', '/run/crio/crio.sock'],
  ...['/run/containerd/containerd.sock', '/run/k3s/containerd/containerd.sock', '/run/cri-dockerd.sock'],
];
/** Mounts of the pod itself, and of runtimes in every container. */
const OWN_MOUNTS = [
  ...['/proc', '/sys', '/dev', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/etc/mtab', '/run/.containerenv'],
  ...['/tmp', '/home/oplab', '/run/oplab', '/etc/oplab/ca', '/var/run/secrets/oplab', '/run/secrets/oplab'],
];

/**
 * Makes all probes of the container. A probe that fails counts as a hole.
 * @param ownSockets sockets that the sandbox itself serves, and the mounts for them
 */
export async function probeContainer(
  ownSockets: readonly string[] = [],
  facts: ContainerFacts = systemFacts,
): Promise<Probe[]> {
  const field = async (name: string) => {
    const value = new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(await facts.read('/proc/self/status'))?.[1];
    if (value === undefined) throw new Error(`/proc/self/status does not say ${name}`);
    return value;
  };
  const probes: Readonly<Record<ContainerProbeName, () => Promise<Seen>>> = {
    'foreign-token': async () => {
      const foreign = (await facts.list(TOKENS)).filter((name) => name !== 'oplab');
      return foreign.length === 0 ? { detail: 'none' } : { hole: foreign.join(', '), detail: `in ${TOKENS}` };
    },
    'host-socket': async () => {
      const found: string[] = [];
      for (const file of SOCKETS) if (!ownSockets.includes(file) && (await facts.exists(file))) found.push(file);
      return found.length === 0 ? { detail: 'none' } : { hole: found.join(', '), detail: 'exists' };
    },
    'host-processes': async () => {
      const own = (await field('Uid')).split(/\s+/)[0];
      for (const pid of await facts.list('/proc')) {
        if (!/^\d+$/.test(pid)) continue;
        // The process may have ended since.
        const status = await facts.read(`/proc/${pid}/status`).catch(() => '');
        const user = /^Uid:\s*(\d+)/m.exec(status)?.[1];
        if (user !== undefined && user !== own) return { hole: `process ${pid}`, detail: `runs as user ${user}` };
      }
      return { detail: 'none' };
    },
    'host-mount': async () => {
      const own = [...OWN_MOUNTS, ...(ownSockets.length === 0 ? [] : ['/run'])];
      const points = (await facts.read('/proc/self/mountinfo'))
        .split('\n')
        .map((line) => line.split(' ')[4])
        .filter((point) => point !== undefined && point !== '/' && point !== '/run/secrets');
      const foreign = points.filter((point) => !own.some((mine) => point === mine || point?.startsWith(`${mine}/`)));
      return foreign.length === 0 ? { detail: 'none' } : { hole: foreign.join(', '), detail: 'is mounted' };
    },
    capabilities: async () => {
      const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'];
      const values = await Promise.all(sets.map(async (set) => `${set} ${await field(set)}`));
      const held = values.filter((value) => /[1-9a-f]/i.test(value.split(' ')[1] ?? ''));
      return held.length === 0 ? { detail: 'none' } : { hole: held.join(', '), detail: 'not zero' };
    },
    seccomp: async () => {
      const mode = await field('Seccomp');
      return mode === '2' ? { detail: 'filtered' } : { hole: `mode ${mode}`, detail: 'not 2' };
    },
    'new-privileges': async () => {
      const set = await field('NoNewPrivs');
      return set === '1' ? { detail: 'no_new_privs is set' } : { hole: `NoNewPrivs ${set}`, detail: 'not 1' };
    },
    root: async () => {
      const users = await field('Uid');
      return users.split(/\s+/).includes('0') ? { hole: `Uid ${users}`, detail: 'has 0' } : { detail: `Uid ${users}` };
    },
  };
  return Promise.all(
    Object.entries(probes).map(async ([name, probe]): Promise<Probe> => {
      const seen = await probe().catch((error: unknown): Seen => ({ hole: 'unknown', detail: errorMessage(error) }));
      return {
        name,
        expected: `not ${expected(name)}`,
        address: seen.hole ?? '',
        open: seen.hole !== undefined,
        allowed: false,
        detail: seen.detail,
      };
    }),
  );
}

function expected(name: string): string {
  return Object.entries(CONTAINER_PROBES).find(([probe]) => probe === name)?.[1] ?? name;
}
