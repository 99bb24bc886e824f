// Isolation probes: waited for, made in the right order, and reported.

import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { CONTAINER_PROBES, ISOLATION_PROBES, NETWORK_PROBES } from '../api/isolation.ts';
import { InvalidInput } from '../errors.ts';
import { type ContainerFacts, probeContainer } from './container-probes.ts';
import { type IsolationAddress, isolationAddresses, probeIsolation, tryConnect } from './isolation-probes.ts';

const addresses = isolationAddresses({
  apiServerHost: '10.0.0.1',
  apiServerPort: 443,
  hostIP: '192.0.2.1',
  extra: 'dns=10.0.0.2:53, v6=[fd00::1]:443',
});

/** A network whose clock moves only while the prober sleeps. */
function fakeNetwork(open: (address: IsolationAddress, now: number) => boolean) {
  let now = 0;
  const probed: string[] = [];
  return {
    probed,
    ports: {
      now: () => now,
      sleep: async (ms: number) => {
        now += ms;
      },
      connect: async (address: IsolationAddress) => {
        probed.push(address.name);
        return { open: open(address, now), detail: '' };
      },
    },
  };
}

describe('isolation probes', () => {
  it('are tried at the API server first, then at the rest', async () => {
    const { ports, probed } = fakeNetwork(() => false);
    const report = await probeIsolation(addresses, ports);
    expect(probed).toEqual([...Object.keys(NETWORK_PROBES), 'dns', 'v6']);
    expect(report).toMatchObject({ closed: true, waitedMs: 0 });
    expect(report.probes.at(-1)?.address).toBe('fd00::1:443');
  });

  it('are waited for while a policy lags', async () => {
    const { ports, probed } = fakeNetwork((address, now) => address.name === 'api-server' && now < 1500);
    const report = await probeIsolation(addresses, ports);
    expect(report.closed).toBe(true);
    expect(report.waitedMs).toBeGreaterThanOrEqual(1500);
    expect(probed.filter((name) => name === 'api-server')).toHaveLength(9);
  });

  it('are open when the API server stays open for thirty seconds, and then nothing else is tried', async () => {
    const { ports, probed } = fakeNetwork((address) => address.name === 'api-server');
    const report = await probeIsolation(addresses, ports);
    expect(report.closed).toBe(false);
    expect(new Set(probed)).toEqual(new Set(['api-server']));
    expect(report.waitedMs).toBeGreaterThanOrEqual(30_000);
  });

  it('are open when any required address is, or an extra one', async () => {
    const required = Object.keys(NETWORK_PROBES).filter((name) => name !== 'kubelet');
    for (const name of [...required, 'dns']) {
      const report = await probeIsolation(addresses, fakeNetwork((address) => address.name === name).ports);
      expect(report.closed).toBe(false);
      expect(report.probes.find((probe) => probe.name === name)?.open).toBe(true);
    }
  });

  it("report the node's own kubelet without counting it", async () => {
    const report = await probeIsolation(addresses, fakeNetwork((address) => address.name === 'kubelet').ports);
    expect(report.closed).toBe(true);
    expect(report.probes.find((probe) => probe.name === 'kubelet')).toMatchObject({ open: true });
  });

  it('let a class allow any hole by name, and only that one', async () => {
    for (const name of ISOLATION_PROBES) {
      const container = async () =>
        Object.keys(CONTAINER_PROBES).map((probe) => ({
          ...{ name: probe, expected: '', address: '', allowed: false, detail: '' },
          open: probe === name,
        }));
      const isOpen = (address: IsolationAddress) => address.name === name;
      const allowing = (allowed: string[]) =>
        probeIsolation(addresses, { ...fakeNetwork(isOpen).ports, container, allowed });
      expect(await allowing([name])).toMatchObject({ closed: true, waitedMs: 0 });
      const others = ISOLATION_PROBES.filter((other) => other !== name);
      expect((await allowing(others)).closed).toBe(name === 'kubelet');
    }
  });

  it('record for each what was expected and what was seen', async () => {
    const report = await probeIsolation(addresses, fakeNetwork(() => false).ports);
    for (const probe of report.probes) expect(probe.expected).toMatch(/^no connection to ./);
  });

  it('count as open where the address of the API server is unknown', async () => {
    const unknown = isolationAddresses({ apiServerHost: undefined, apiServerPort: 443, hostIP: undefined, extra: '' });
    expect((await probeIsolation(unknown, fakeNetwork(() => false).ports)).closed).toBe(false);
  });

  it('refuse an extra address that is malformed', () => {
    expect(() =>
      isolationAddresses({ apiServerHost: 'x', apiServerPort: 1, hostIP: undefined, extra: 'nonsense' }),
    ).toThrow(InvalidInput);
  });

  it('are tried with a real connection', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect((await tryConnect({ name: 'x', host: '127.0.0.1', port })).open).toBe(true);
    await new Promise((resolve) => server.close(resolve));
    expect(await tryConnect({ name: 'x', host: '127.0.0.1', port })).toEqual({ open: false, detail: 'ECONNREFUSED' });
  });
});

describe('container probes', () => {
  const STATUS = `Name:\tnode
Uid:\t65532\t65532\t65532\t65532
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
`;
  const MOUNTS = ['/', '/proc', '/dev/shm', '/etc/hosts', '/tmp', '/home/oplab', '/home/oplab/.cluster-admin']
    .concat('/run/oplab', '/etc/oplab/ca', '/run/secrets/oplab')
    .map((point, index) => `${index} 1 0:1 / ${point} rw - tmpfs tmpfs rw`)
    .join('\n');

  /** What a sound container has, with changes. */
  function container(
    changes: {
      status?: string;
      mounts?: string;
      files?: string[];
      folders?: Record<string, string[]>;
      other?: string;
    } = {},
  ): ContainerFacts {
    const { status = STATUS, mounts = MOUNTS, files = [], folders = {}, other = STATUS } = changes;
    return {
      read: async (file) => (file === '/proc/self/status' ? status : file === '/proc/self/mountinfo' ? mounts : other),
      list: async (folder) => folders[folder] ?? (folder === '/proc' ? ['1', '7', 'self'] : ['oplab']),
      exists: async (file) => files.includes(file),
    };
  }
  const holes = async (facts: ContainerFacts, own: string[] = []) =>
    (await probeContainer(own, facts)).filter(({ open }) => open).map(({ name }) => name);

  it('find nothing in a sound container, and are all of the table', async () => {
    const probes = await probeContainer([], container());
    expect(probes.map(({ name }) => name)).toEqual(Object.keys(CONTAINER_PROBES));
    expect(probes.filter(({ open }) => open)).toEqual([]);
  });

  it.each<[string, ContainerFacts]>([
    ['foreign-token', container({ folders: { '/var/run/secrets': ['oplab', 'kubernetes.io'] } })],
    ['foreign-token', container({ folders: { '/var/run/secrets': ['eks.amazonaws.com', 'oplab'] } })],
    ['host-socket', container({ files: ['/run/containerd/containerd.sock'] })],
    ['host-socket', container({ files: ['/var/run/docker.sock'] })],
    ['host-processes', container({ other: STATUS.replaceAll('65532', '0') })],
    ['host-mount', container({ mounts: `${MOUNTS}\n9 1 8:1 / /host rw - ext4 /dev/sda1 rw` })],
    ['host-mount', container({ mounts: `${MOUNTS}\n9 1 8:1 / /tmpx rw - ext4 /dev/sda1 rw` })],
    ['capabilities', container({ status: STATUS.replace('CapBnd:\t0000000000000000', 'CapBnd:\t00000000a80425fb') })],
    ['seccomp', container({ status: STATUS.replace('Seccomp:\t2', 'Seccomp:\t0') })],
    ['seccomp', container({ status: STATUS.replace('Seccomp:\t2\n', '') })],
    ['new-privileges', container({ status: STATUS.replace('NoNewPrivs:\t1', 'NoNewPrivs:\t0') })],
    ['root', container({ status: STATUS.replace('Uid:\t65532\t', 'Uid:\t0\t'), other: '' })],
  ])('find %s', async (name, facts) => {
    expect(await holes(facts)).toEqual([name]);
  });

  it('leave out the socket that the sandbox serves itself', async () => {
    expect(await holes(container({ files: ['/run/docker.sock'] }), ['/run/docker.sock'])).toEqual([]);
  });

  it('read the real files of this process', async () => {
    const probes = await probeContainer();
    expect(probes.filter(({ address }) => address === 'unknown')).toEqual([]);
  });
});
