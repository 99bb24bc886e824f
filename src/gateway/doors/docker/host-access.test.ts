// Access to the host through containers and volumes: every field of a HostConfig, and every
// operation on a container that has such access.

import { describe, expect, it } from 'vitest';
import { createOn, type FilterOptions, refusal, through } from '../../../../test/support/docker-filter.ts';
import { fakeFacts, fullId, inspected, mountOf } from '../../../../test/support/fake-docker-facts.ts';
import { RECORDED_ENGINE, RECORDED_HOST_CONFIG } from '../../../../test/support/recorded-host-config.ts';
import { ROUTES } from './allowed-routes.ts';
import { hostConfigShape } from './container-spec.ts';
import { engineDefaults, listHostAccess } from './host-access.ts';

/** What each operation on a container may do to one with access to its host, and why. */
const DECISIONS: Readonly<Record<string, ['refused' | 'allowed', string]>> = {
  'container.attach': ['refused', 'input to its process'],
  'container.changes': ['refused', 'names of files'],
  'container.copy-in': ['refused', 'writes files, also of the host'],
  'container.copy-out': ['refused', 'reads files, also of the host'],
  'container.inspect': ['allowed', 'the configuration'],
  'container.kill': ['allowed', 'unless the agent can write to its volumes'],
  'container.logs': ['allowed', 'what it prints'],
  'container.pause': ['allowed', 'runs nothing'],
  'container.remove': ['allowed', 'unless it leaves a volume of the project'],
  'container.rename': ['refused', 'the host would reach another container by its name'],
  'container.resize': ['allowed', 'the size of a terminal'],
  'container.restart': ['allowed', 'unless the agent can write to its volumes'],
  'container.start': ['allowed', 'unless the agent can write to its volumes'],
  'container.stat': ['refused', 'names of files, also of the host'],
  'container.stats': ['allowed', 'numbers'],
  'container.stop': ['allowed', 'runs nothing'],
  'container.top': ['refused', 'command lines and environments'],
  'container.unpause': ['allowed', 'continues what ran before'],
  'container.update': ['allowed', 'unless the agent can write to its volumes'],
  'container.wait': ['allowed', 'an exit code'],
  'exec.create': ['refused', 'runs a command'],
  'exec.inspect': ['allowed', 'a command line and an exit code'],
  'exec.resize': ['allowed', 'the size of a terminal'],
  'exec.start': ['refused', 'runs a command'],
};
const containerRoutes = ROUTES.filter(({ pattern }) => /\{(container|exec)\}/.test(pattern));
const POWERFUL = ['agent', 'traefik', 'node-exporter', 'shadow', 'disk', 'wired', 'peeper'];

describe('operations on a container with access to its host', () => {
  it('are all decided', () => {
    expect(containerRoutes.map(({ operation }) => operation).toSorted()).toEqual(Object.keys(DECISIONS).toSorted());
  });

  it.each(containerRoutes)('$operation', async ({ method, pattern, operation, kind }) => {
    const bodies: Record<string, unknown> = { 'exec.create': { Cmd: ['id'] }, 'container.update': { Memory: 1e9 } };
    const query: Record<string, string> = { 'container.rename': '?name=other' };
    for (const name of POWERFUL) {
      for (const mode of ['Repair', 'Diagnose'] as const) {
        const target = await fakeFacts().container(name);
        const facts = fakeFacts();
        const exec = { id: fullId('1'), containerID: target?.id ?? '', command: ['ls'], privileged: false };
        const options = { mode, facts: { ...facts, exec: async () => exec } };
        const path = pattern.replace('{container}', name).replace('{exec}', fullId('1'));
        const made = through(method, path + (query[operation] ?? ''), bodies[operation] ?? '', options);
        const leavesVolume = operation === 'container.remove' && name === 'disk';
        const isRefused =
          leavesVolume || DECISIONS[operation]?.[0] === 'refused' || (kind === 'write' && mode === 'Diagnose');
        const text = `${operation} ${name} ${mode}`;
        if (isRefused) await expect(made, text).rejects.toEqual(refusal('NOT_ALLOWED'));
        else await expect(made, text).resolves.toBeDefined();
      }
    }
  });

  it('name the reason and the flag, which opens them', async () => {
    const copy = (options: FilterOptions = {}) => through('GET', '/containers/traefik/archive?path=/', '', options);
    await expect(copy()).rejects.toThrow(/traefik.*\/var\/run\/docker\.sock.*docker\.allowHostMounts/);
    await expect(copy({ allowHostMounts: true })).resolves.toBeDefined();
    await expect(copy({ allowPrivileged: true })).rejects.toEqual(refusal('NOT_ALLOWED'));
  });

  it('leave ordinary containers open, also those that share a namespace with another one', async () => {
    for (const name of ['tikv0', 'writer', 'reader', 'sidecar']) {
      await expect(through('GET', `/containers/${name}/archive?path=/`), name).resolves.toBeDefined();
      await expect(through('POST', `/containers/${name}/exec`, { Cmd: ['id'] }), name).resolves.toBeDefined();
    }
  });
});

/** Values that a container created without options does not have, and that are access to the host. */
const ACCESS: Readonly<Record<string, readonly unknown[]>> = {
  Privileged: [true],
  CapAdd: [['NET_ADMIN'], ['ALL']],
  Devices: [[{ PathOnHost: '/dev/kmsg' }]],
  DeviceCgroupRules: [['a *:* rwm']],
  DeviceRequests: [[{ Count: -1 }]],
  CgroupParent: ['/', 'system.slice'],
  Cgroup: ['container:x'],
  CpuRealtimePeriod: [1000],
  CpuRealtimeRuntime: [1000],
  OomKillDisable: [true],
  OomScoreAdj: [-1],
  Ulimits: [[{ Name: 'rtprio', Hard: 99, Soft: 99 }], [{ Name: 'NICE', Hard: 40 }]],
  SecurityOpt: [['seccomp={}'], ['label=disable'], ['apparmor=custom'], ['writable-cgroups=true']],
  MaskedPaths: [[], ['/proc/kcore']],
  ReadonlyPaths: [[], ['/proc/bus']],
  Runtime: ['runc-with-hooks', 'io.containerd.runsc.v1'],
  StorageOpt: [{ size: '1G' }],
  Annotations: [{ a: 'b' }],
  Sysctls: [{ 'kernel.core_pattern': '|/x' }, { 'vm.overcommit_memory': '1' }],
  LogConfig: [
    { Type: 'syslog', Config: {} },
    { Type: 'json-file', Config: { 'log-path': '/x' } },
  ],
  Isolation: ['hyperv'],
  Binds: [['/:/host'], ['/srv/a:/a:ro'], ['shop_data:/d', '/etc/cron.d:/c'], ['/run/containerd/containerd.sock:/s']],
  Mounts: [
    [{ Type: 'bind', Source: '/home', Target: '/h' }],
    [{ Type: 'image', Source: 'x', Target: '/h' }],
    [{ Type: 'volume', Source: 'a', Target: '/h', VolumeOptions: { DriverConfig: { Options: { device: '/' } } } }],
    [{ Type: 'volume', Source: 'a', Target: '/h', VolumeOptions: { DriverConfig: { Name: 'sshfs' } } }],
  ],
  VolumeDriver: ['nfs'],
  Tmpfs: [
    { '/x': 'bind' },
    { '/x': 'size=1m,RBIND' },
    { '/x': 'shared' },
    { '/x': 'remount' },
    { '/x': 'size=1m,size' },
  ],
  NetworkMode: ['host', 'ns:/proc/1/ns/net'],
  PidMode: ['host', 'ns:/proc/1/ns/pid'],
  IpcMode: ['host', 'ns:/proc/1/ns/ipc'],
  UTSMode: ['host'],
  UsernsMode: ['host'],
  CgroupnsMode: ['host', 'container:x'],
  Links: [['bank:b']],
  BlkioWeightDevice: [[{ Path: '/dev/sda', Weight: 1 }]],
  BlkioDeviceReadBps: [[{ Path: '/dev/sda', Rate: 1 }]],
  BlkioDeviceWriteBps: [[{ Path: '/dev/sda', Rate: 1 }]],
  BlkioDeviceReadIOps: [[{ Path: '/dev/sda', Rate: 1 }]],
  BlkioDeviceWriteIOps: [[{ Path: '/dev/sda', Rate: 1 }]],
  CpuCount: [1],
  CpuPercent: [1],
  IOMaximumIOps: [1],
  IOMaximumBandwidth: [1],
  // No engine has these yet.
  SomethingNewer: [true, 'x', { a: 1 }, [0]],
};
/** Values that affect only the container itself, its limits and its ports. */
const ORDINARY: Readonly<Record<string, unknown>> = {
  CpuShares: 512,
  Memory: 1e9,
  NanoCpus: 1e9,
  BlkioWeight: 300,
  CpuPeriod: 100_000,
  CpuQuota: 50_000,
  CpusetCpus: '0',
  CpusetMems: '0',
  KernelMemory: 1e8,
  KernelMemoryTCP: 1e8,
  MemoryReservation: 1e8,
  MemorySwap: 1e9,
  MemorySwappiness: 10,
  PidsLimit: 100,
  VolumesFrom: ['tikv0'],
  ContainerIDFile: '/tmp/id',
  ConsoleSize: [24, 80],
  PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
  PublishAllPorts: true,
  RestartPolicy: { Name: 'always' },
  AutoRemove: true,
  CapDrop: ['ALL'],
  Dns: ['10.0.0.1'],
  DnsOptions: ['ndots:1'],
  DnsSearch: ['example.com'],
  ExtraHosts: ['a:10.0.0.1'],
  GroupAdd: ['1'],
  ReadonlyRootfs: true,
  ShmSize: 1e8,
  Init: true,
};
const engines = {
  recorded: engineDefaults.parse(RECORDED_ENGINE),
  newer: engineDefaults.parse({ DefaultRuntime: 'runc', CgroupVersion: '2', LoggingDriver: 'journald' }),
};

describe('the HostConfig of a container', () => {
  it('of a real engine is ordinary without options', () => {
    expect(listHostAccess(RECORDED_HOST_CONFIG, engines.recorded)).toEqual([]);
    // The same values are the host's own where they are not the engine's defaults.
    expect(listHostAccess(RECORDED_HOST_CONFIG, engines.newer).map(({ field }) => field)).toEqual([
      'CgroupnsMode',
      'Runtime',
    ]);
  });

  it('is decided in each field that an engine shows or a request can have', () => {
    const fields = new Set([...Object.keys(RECORDED_HOST_CONFIG), ...Object.keys(hostConfigShape)]);
    const decided = new Set([...Object.keys(ACCESS), ...Object.keys(ORDINARY)]);
    expect([...fields].filter((field) => !decided.has(field))).toEqual([]);
    expect(Object.keys(ACCESS).filter((field) => field in ORDINARY)).toEqual([]);
  });

  const cases = Object.entries(ACCESS).flatMap(([field, values]) => values.map((value) => ({ field, value })));
  it.each(cases)('gives access to the host, and is refused at creation: $field $value', async ({ field, value }) => {
    const changed = { ...RECORDED_HOST_CONFIG, [field]: value };
    // On cgroup v1, a shared cgroup namespace is the default.
    const engine = field === 'CgroupnsMode' ? { ...engines.recorded, cgroupVersion: '2' } : engines.recorded;
    expect(listHostAccess(changed, engine).map((access) => access.field)).toContain(field);
    const refused = createOn({ [field]: value });
    await expect(refused).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/NOT_ALLOWED|INPUT/) }),
    );
    if (field === 'CgroupnsMode') return;
    const facts = fakeFacts([inspected('odd', { HostConfig: { [field]: value } })]);
    await expect(through('GET', '/containers/odd/archive?path=/', '', { facts })).rejects.toEqual(
      refusal('NOT_ALLOWED'),
    );
  });

  it.each(Object.entries(ORDINARY))('is ordinary with %s %j', async (field, value) => {
    expect(listHostAccess({ ...RECORDED_HOST_CONFIG, [field]: value }, engines.recorded)).toEqual([]);
    await expect(createOn({ [field]: value })).resolves.toBeDefined();
  });

  it.each(['', 'size=64m', 'rw,noexec,nosuid,nodev,size=65536k,mode=1777,uid=0', 'exec,suid,dev,size=50%,noatime'])(
    'is ordinary with a tmpfs of "%s"',
    async (options) => {
      await expect(createOn({ Tmpfs: { '/run': options } })).resolves.toBeDefined();
    },
  );

  it('of a newer engine may mask more, and use its own log driver', () => {
    const masked = [...Object.values(Object(RECORDED_HOST_CONFIG.MaskedPaths)), '/proc/interrupts'];
    const newer = { MaskedPaths: masked, Runtime: 'runc', CgroupnsMode: 'private', LogConfig: { Type: 'journald' } };
    expect(listHostAccess({ ...RECORDED_HOST_CONFIG, ...newer }, engines.newer)).toEqual([]);
  });

  it('that is not shown counts as access', async () => {
    const facts = fakeFacts();
    const plain = await facts.container('tikv0');
    expect(plain?.powers).toEqual([]);
    const hidden = fakeFacts([{ ...inspected('hidden', {}), HostConfig: undefined as never }]);
    expect((await hidden.container('hidden'))?.powers).toHaveLength(1);
  });
});

describe('a volume of a container with access to its host', () => {
  it.each<[string, object]>([
    ['Binds', { Binds: ['shop_backup:/b'] }],
    ['Binds', { Binds: ['shop_scripts:/b:rw,z'] }],
    ['Mounts', { Mounts: [{ Type: 'volume', Source: 'shop_scripts', Target: '/b' }] }],
    ['VolumesFrom', { VolumesFrom: ['writer'] }],
  ])('is not mounted writable by %s', async (_, host) => {
    await expect(createOn(host)).rejects.toThrow(
      /volume shop_(backup|scripts), which .* mounts .*docker\.allowPrivileged/,
    );
    await expect(createOn(host, { allowPrivileged: true })).resolves.toBeDefined();
  });

  it.each<object>([
    { Binds: ['shop_backup:/b:ro', 'shop_data:/d'] },
    { Mounts: [{ Type: 'volume', Source: 'shop_scripts', Target: '/b', ReadOnly: true }] },
    { VolumesFrom: ['writer:ro', 'reader'] },
  ])('can be mounted read-only: %j', async (host) => {
    await expect(createOn(host)).resolves.toBeDefined();
  });

  it('does not name containers outside the project', async () => {
    await expect(createOn({ Binds: ['shop_backup:/b'] })).rejects.not.toThrow('container backup');
  });

  it('is not run again after the agent could write to it', async () => {
    for (const operation of ['start', 'restart', 'kill?signal=HUP']) {
      await expect(through('POST', `/containers/runner/${operation}`)).rejects.toThrow(
        /runner.*shop_scripts through container writer/,
      );
    }
    const policy = { RestartPolicy: { Name: 'always' } };
    await expect(through('POST', '/containers/runner/update', policy)).rejects.toEqual(refusal('NOT_ALLOWED'));
    await expect(through('POST', '/containers/runner/stop')).resolves.toBeDefined();
    await expect(through('POST', '/containers/agent/restart')).resolves.toBeDefined();
    await expect(through('POST', '/containers/writer/restart')).resolves.toBeDefined();
  });

  it('keeps its writer, so that this remains visible', async () => {
    await expect(through('DELETE', '/containers/writer')).rejects.toEqual(refusal('NOT_ALLOWED'));
    await expect(through('DELETE', '/containers/reader')).resolves.toBeDefined();
    await expect(through('DELETE', '/containers/tikv0')).resolves.toBeDefined();
  });

  it('keeps its reader, which would otherwise be created again on what the agent wrote', async () => {
    for (const query of ['', '?force=1', '?v=1'])
      await expect(through('DELETE', `/containers/runner${query}`)).rejects.toThrow(
        /removing container runner.*shop_scripts.*docker\.allowPrivileged/,
      );
    await expect(through('DELETE', '/containers/runner', '', { allowPrivileged: true })).resolves.toBeDefined();
    // Without a volume that the agent could mount, nothing can be left for the next one.
    await expect(through('DELETE', '/containers/agent')).resolves.toBeDefined();
    const HostConfig = { Privileged: true };
    const facts = fakeFacts([inspected('other', { HostConfig, Mounts: [mountOf('bank_data')] })]);
    await expect(through('DELETE', '/containers/other', '', { facts })).resolves.toBeDefined();
  });

  it('that is a folder of the host cannot be mounted', async () => {
    await expect(createOn({ Binds: ['shop_disk:/d:ro'] })).rejects.toThrow('docker.allowHostMounts');
    const facts = fakeFacts([inspected('later', { Mounts: [mountOf('shop_disk')] })]);
    await expect(through('GET', '/containers/later/archive?path=/', '', { facts })).rejects.toThrow('shop_disk');
  });
});

describe('a namespace that containers share', () => {
  const all = { allowPrivileged: true, allowHostMounts: true, allowHostNamespaces: true };
  const of = (name: string, id: string) => ({ HostConfig: { [name]: `container:${fullId(id)}` } });
  const exec = (name: string, differences: Parameters<typeof inspected>[1], access: FilterOptions = {}) =>
    through(
      'POST',
      `/containers/${name}/exec`,
      { Cmd: ['id'] },
      {
        facts: fakeFacts([inspected('odd', differences)]),
        ...access,
      },
    );

  it.each([
    // "disk" mounts a volume that is a folder of the host, and "wired" is in a network of the host.
    ['PidMode', '2a', 'allowHostMounts'],
    ['IpcMode', '2a', 'allowHostMounts'],
    ['NetworkMode', '2b', 'allowHostNamespaces'],
  ])('gives the access through volumes and networks, too: %s of %s', async (mode, id, flag) => {
    const digits = id.repeat(32);
    const differences = { HostConfig: { [mode]: `container:${digits}` } };
    await expect(exec('odd', differences)).rejects.toThrow(`docker.${flag}`);
    await expect(exec('odd', differences, { [flag]: true })).resolves.toBeDefined();
  });

  it.each(['PidMode', 'IpcMode'])('is entered by a container with access to the host: %s', async (mode) => {
    const sock = { Type: 'bind', Source: '/var/run/docker.sock', Destination: '/s', RW: true };
    const differences = { ...of(mode, 'a'), Mounts: [sock] };
    // Its files are in /proc/PID/root of all processes that see it.
    await expect(exec('tikv0', differences)).rejects.toThrow(/odd.*docker\.allowHostMounts/);
    await expect(exec('tikv0', differences, all)).resolves.toBeDefined();
    // One that is named instead.
    const named = { HostConfig: { [mode]: 'container:tikv0' }, Mounts: [sock] };
    await expect(exec('tikv0', named)).rejects.toThrow('docker.allowHostMounts');
    await expect(exec('tikv0', of(mode, 'a'))).resolves.toBeDefined();
    await expect(exec('writer', differences)).resolves.toBeDefined();
  });

  it('is entered by a container of another project', async () => {
    const foreign = inspected('odd', of('PidMode', 'a'));
    foreign.Config.Labels = null;
    const made = through('POST', '/containers/tikv0/exec', { Cmd: ['id'] }, { facts: fakeFacts([foreign]) });
    await expect(made).rejects.toThrow(/a container outside .*docker\.allowHostNamespaces/);
  });
});
