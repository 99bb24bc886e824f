// The docker door's filter, tested with attempts to break out of the project or out of a container.

import { describe, expect, it } from 'vitest';
import { fakeFacts, fullId } from '../../../../test/support/fake-docker-facts.ts';
import { type DockerAccess, dockerAccess } from '../../../api/docker-access.ts';
import { filterRequest } from './filter.ts';
import { readRequest } from './route.ts';
import { PROJECT_LABEL } from './scope.ts';

interface Options extends Partial<DockerAccess> {
  mode?: 'Repair' | 'Diagnose';
}

async function through(method: string, url: string, body: unknown = '', { mode = 'Repair', ...access }: Options = {}) {
  const raw = typeof body === 'string' ? body : JSON.stringify(body);
  const limited = access.label === undefined ? { composeProject: 'shop' } : {};
  const passing = await filterRequest(readRequest(method, url), Buffer.from(raw), {
    access: dockerAccess.parse({ endpoint: 'local', ...limited, ...access }),
    mode,
    facts: fakeFacts(),
  });
  return { ...passing, json: passing.contentType?.includes('json') ? JSON.parse(passing.body?.toString() ?? '') : {} };
}

const refusal = (code: string) => expect.objectContaining({ code: `OPLAB_${code}` });
const create = (spec: object, options?: Options) =>
  through('POST', '/v1.41/containers/create?name=new', { Image: 'pingcap/tikv:v8.5.3', ...spec }, options);
const createOn = (host: object, options?: Options) => create({ HostConfig: { NetworkMode: 'none', ...host } }, options);

describe('what can be seen', () => {
  it.each([
    ['/containers/json', undefined],
    ['/networks', '{"driver":{"bridge":true}}'],
    ['/volumes', '{"dangling":["true"]}'],
    ['/events', '{"label":["a=b"],"type":["container"]}'],
    // The caller's own label filter, in either form, cannot remove the scope's label.
    ['/containers/json', `{"label":{"${PROJECT_LABEL}=bank":true}}`],
    ['/containers/json', `{"label":{"${PROJECT_LABEL}=shop":false}}`],
    ['/containers/json', 'null'],
  ])('%s with filters %s gets the label in addition to its filters', async (path, filters) => {
    const query = filters === undefined ? '' : `?filters=${encodeURIComponent(filters)}`;
    const { path: forwarded } = await through('GET', `/v1.41${path}${query}`);
    const sent = JSON.parse(new URL(forwarded, 'http://x').searchParams.get('filters') ?? '');
    expect(sent.label[`${PROJECT_LABEL}=shop`]).toBe(true);
    for (const key of Object.keys(JSON.parse(filters ?? '{}') ?? {})) expect(sent).toHaveProperty(key);
  });

  it.each(['[]', '"x"', '{"label":"x"}', '{"label":5}', '{"LABEL":["x"]}', '{', '{"label":[{"a":1}]}'])(
    'refuses filters that Go may read otherwise: %s',
    async (filters) => {
      await expect(through('GET', `/containers/json?filters=${encodeURIComponent(filters)}`)).rejects.toEqual(
        refusal('INVALID_INPUT'),
      );
    },
  );

  it.each([
    'GET /containers/bank/json',
    `GET /containers/${fullId('f')}/json`,
    'GET /containers/ffff/json',
    'GET /containers/bank/logs?follow=1&stdout=1',
    'GET /containers/bank/archive?path=/',
    'PUT /containers/bank/archive?path=/',
    'GET /containers/bare/json',
    'POST /containers/bank/start',
    'POST /containers/bank/exec',
    'POST /containers/bank/attach?stream=1',
    'DELETE /containers/bank?force=1',
    'POST /containers/nobody/stop',
    `POST /exec/${fullId('2')}/start`,
    `GET /exec/${fullId('2')}/json`,
    `POST /exec/${fullId('8')}/start`,
    'GET /networks/bank_default',
    'GET /networks/bridge',
    'DELETE /networks/bank_default',
    'GET /volumes/bank_data',
    'DELETE /volumes/bank_data?force=1',
    'GET /images/bank-core:1/json',
    'GET /images/bank-core:1/history',
  ])('does not find objects outside the project: %s', async (line) => {
    const [method = '', url = ''] = line.split(' ');
    const body = method === 'POST' && url.endsWith('exec') ? { Cmd: ['id'] } : '';
    await expect(through(method, url, body)).rejects.toEqual(refusal('NOT_FOUND'));
  });

  it('gives the same answer for an object outside the project and for one that does not exist', async () => {
    const message = async (name: string) => {
      const refused = await through('GET', `/containers/${name}/json`).catch((error: Error) => error);
      return 'message' in refused ? refused.message.replace(name, 'X') : 'passed';
    };
    expect(await message('bank')).toBe(await message('nobody'));
  });

  it('forwards the ID that was checked, whatever name the caller used', async () => {
    for (const name of ['tikv0', 'aaaa', fullId('a')]) {
      const { path, target } = await through('POST', `/v1.41/containers/${name}/start`);
      expect(path).toBe(`/v1.41/containers/${fullId('a')}/start`);
      expect(target).toEqual({ id: fullId('a'), name: 'tikv0' });
    }
  });

  it('can be limited to a label with an equals sign in its value', async () => {
    await expect(
      through('GET', '/containers/tikv0/json', '', { label: `${PROJECT_LABEL}=shop` }),
    ).resolves.toBeDefined();
    await expect(through('GET', '/containers/tikv0/json', '', { label: `${PROJECT_LABEL}=shop=x` })).rejects.toEqual(
      refusal('NOT_FOUND'),
    );
  });

  it('reads only own properties as labels', async () => {
    await expect(through('GET', '/containers/bare/json', '', { label: 'constructor=x' })).rejects.toEqual(
      refusal('NOT_FOUND'),
    );
  });
});

describe('mode Diagnose', () => {
  it.each([
    'POST /containers/tikv0/start',
    'POST /containers/tikv0/exec',
    'POST /containers/tikv0/attach',
    'PUT /containers/tikv0/archive?path=/',
    'POST /containers/create',
    'DELETE /volumes/shop_data',
    'POST /images/create?fromImage=pingcap/tikv',
  ])('changes nothing: %s', async (line) => {
    const [method = '', url = ''] = line.split(' ');
    await expect(through(method, url, '{}', { mode: 'Diagnose' })).rejects.toEqual(refusal('NOT_ALLOWED'));
  });

  it('allows reads', async () => {
    await expect(through('GET', '/containers/tikv0/logs?stdout=1', '', { mode: 'Diagnose' })).resolves.toBeDefined();
  });
});

describe('creating a container', () => {
  it('adds the label and forwards only the parsed fields', async () => {
    const { json, path, text } = await create({
      Cmd: ['--pd=pd0:2379'],
      Labels: { a: 'b' },
      HostConfig: {
        NetworkMode: 'shop_default',
        Binds: ['shop_data:/data:rw', '/anonymous'],
        Privileged: false,
        PidMode: '',
        MaskedPaths: null,
        ReadonlyPaths: null,
        CapAdd: null,
        Devices: [],
        SecurityOpt: ['no-new-privileges:true'],
        SomethingNewer: {},
      },
      NetworkingConfig: { EndpointsConfig: { shop_default: { Aliases: ['tikv0'], NetworkID: '', DriverOpts: null } } },
    });
    expect(path).toBe('/v1.41/containers/create?name=new');
    expect(json.Labels).toEqual({ a: 'b', [PROJECT_LABEL]: 'shop' });
    expect(json.HostConfig).toEqual({
      NetworkMode: fullId('4'),
      Binds: ['shop_data:/data:rw', '/anonymous'],
      Privileged: false,
      PidMode: '',
      Devices: [],
      SecurityOpt: ['no-new-privileges:true'],
    });
    expect(json.NetworkingConfig.EndpointsConfig).toEqual({ [fullId('4')]: { Aliases: ['tikv0'] } });
    expect(text).toBe('create new of pingcap/tikv:v8.5.3');
  });

  it.each<[string, object]>([
    ['allowPrivileged', { Privileged: true }],
    ['allowPrivileged', { CapAdd: ['SYS_ADMIN'] }],
    ['allowPrivileged', { Devices: [{ PathOnHost: '/dev/sda', PathInContainer: '/dev/sda' }] }],
    ['allowPrivileged', { DeviceCgroupRules: ['a *:* rwm'] }],
    ['allowPrivileged', { DeviceRequests: [{ Count: -1 }] }],
    ['allowPrivileged', { SecurityOpt: ['seccomp=unconfined'] }],
    ['allowPrivileged', { SecurityOpt: ['no-new-privileges', 'apparmor:unconfined'] }],
    ['allowPrivileged', { SecurityOpt: ['systempaths=unconfined'] }],
    // An empty list differs from an absent one.
    ['allowPrivileged', { MaskedPaths: [] }],
    ['allowPrivileged', { ReadonlyPaths: [] }],
    ['allowPrivileged', { Runtime: 'runc-with-hooks' }],
    ['allowPrivileged', { CgroupParent: '/' }],
    ['allowPrivileged', { Sysctls: { 'kernel.core_pattern': '|/x' } }],
    ['allowPrivileged', { OomScoreAdj: -1000 }],
    ['allowPrivileged', { LogConfig: { Type: 'syslog', Config: { 'syslog-address': 'tcp://evil:1' } } }],
    ['allowPrivileged', { LogConfig: { Type: 'json-file', Config: { 'log-path': '/x' } } }],
    ['allowPrivileged', { Annotations: { 'run.oci.keep_original_groups': '1' } }],
    ['allowHostMounts', { Binds: ['/:/host'] }],
    ['allowHostMounts', { Binds: ['/var/run/docker.sock:/var/run/docker.sock:ro'] }],
    ['allowHostMounts', { Mounts: [{ Type: 'bind', Source: '/', Target: '/host' }] }],
    ['allowHostMounts', { Mounts: [{ Type: 'bind', Target: '/host' }] }],
    [
      'allowHostMounts',
      {
        Mounts: [
          {
            ...{ Type: 'volume', Source: 'shop_data', Target: '/x' },
            VolumeOptions: { DriverConfig: { Name: 'local', Options: { type: 'none', o: 'bind', device: '/' } } },
          },
        ],
      },
    ],
    ['allowHostNamespaces', { PidMode: 'host' }],
    ['allowHostNamespaces', { IpcMode: 'host' }],
    ['allowHostNamespaces', { UTSMode: 'host' }],
    ['allowHostNamespaces', { UsernsMode: 'host' }],
    ['allowHostNamespaces', { CgroupnsMode: 'host' }],
    ['allowHostNamespaces', { NetworkMode: 'host' }],
  ])('needs %s for %j', async (flag, host) => {
    const refused = expect(createOn(host)).rejects;
    await refused.toThrow(`docker.${flag}`);
    await expect(createOn(host)).rejects.toEqual(refusal('NOT_ALLOWED'));
    await expect(createOn(host, { [flag]: true })).resolves.toBeDefined();
  });

  it.each<[string, string]>([
    ['a key in another case', '{"Image":"pingcap/tikv:v8.5.3","hostconfig":{"privileged":true}}'],
    [
      'a key in another case inside',
      '{"Image":"pingcap/tikv:v8.5.3","HostConfig":{"NetworkMode":"none","PRIVILEGED":true}}',
    ],
    [
      'Kelvin sign for K',
      '{"Image":"pingcap/tikv:v8.5.3","HostConfig":{"NetworkMode":"none","Networ\u212aMode":"host"}}',
    ],
    ['long s for s', '{"Image":"pingcap/tikv:v8.5.3","Ho\u017ftConfig":{"Privileged":true}}'],
    ['the HostConfig of old, at the top', '{"Image":"pingcap/tikv:v8.5.3","Privileged":true}'],
    ['another type', '{"Image":"pingcap/tikv:v8.5.3","HostConfig":{"NetworkMode":"none","Privileged":"true"}}'],
    ['a prototype', '{"Image":"pingcap/tikv:v8.5.3","__proto__":{"HostConfig":{"Privileged":true}}}'],
    ['bytes that are no text', '{"Image":"pingcap/tikv:v8.5.3","User":"\xff"}'],
    ['two documents', '{"Image":"pingcap/tikv:v8.5.3"}{"HostConfig":{"Privileged":true}}'],
    ['a list', '[]'],
  ])('does not accept %s', async (_, body) => {
    const raw = Buffer.from(body, body.includes('\xff') ? 'latin1' : 'utf8');
    await expect(
      filterRequest(readRequest('POST', '/containers/create'), raw, {
        access: dockerAccess.parse({ endpoint: 'local', composeProject: 'shop' }),
        mode: 'Repair',
        facts: fakeFacts(),
      }),
    ).rejects.toEqual(refusal('INVALID_INPUT'));
  });

  it('checks and forwards the same one of two equal keys', async () => {
    const body = (first: boolean, second: boolean) =>
      `{"Image":"pingcap/tikv:v8.5.3","HostConfig":{"NetworkMode":"none","Privileged":${first},"Privileged":${second}}}`;
    await expect(through('POST', '/containers/create', body(false, true))).rejects.toEqual(refusal('NOT_ALLOWED'));
    const { body: sent } = await through('POST', '/containers/create', body(true, false));
    expect(sent?.toString().match(/Privileged/g)).toHaveLength(1);
    expect(sent?.toString()).toContain('"Privileged":false');
  });

  it.each<[string, object]>([
    ['PidMode', { PidMode: 'container:bank' }],
    ['IpcMode', { IpcMode: 'container:bank' }],
    ['NetworkMode', { NetworkMode: 'container:bank' }],
    ['VolumesFrom', { VolumesFrom: ['bank'] }],
    ['VolumesFrom', { VolumesFrom: ['bank:ro'] }],
    ['a network', { NetworkMode: 'bank_default' }],
    ['a volume', { Binds: ['bank_data:/data'] }],
    ['a volume that does not exist', { Binds: ['fresh:/data'] }],
    ['a mounted volume', { Mounts: [{ Type: 'volume', Source: 'bank_data', Target: '/data' }] }],
  ])('uses nothing of another project: %s', async (_, host) => {
    // Not as "not found": clients would read that as a missing image and pull it.
    await expect(createOn(host)).rejects.toThrow('No such');
    await expect(createOn(host)).rejects.toEqual(refusal('INVALID_INPUT'));
  });

  it.each<[string, object]>([
    ['the default network', { NetworkMode: 'bridge' }],
    ['the default network by silence', { NetworkMode: '' }],
    ['the network of a container that is on its host’s', { NetworkMode: 'container:node-exporter' }],
    ['the network of a container that is in a foreign one’s', { NetworkMode: 'container:shadow' }],
    ['the processes of a container that sees its host’s', { PidMode: 'container:node-exporter' }],
    ['the folders of a container that has the socket', { VolumesFrom: ['traefik'] }],
    ['mounts of other kinds', { Mounts: [{ Type: 'image', Source: 'bank-core:1', Target: '/x' }] }],
    ['volume drivers of other kinds', { VolumeDriver: 'nfs' }],
  ])('gives no access to the host by %s', async (_, host) => {
    await expect(createOn(host)).rejects.toEqual(refusal('NOT_ALLOWED'));
  });

  it('shares with containers of the project by ID', async () => {
    const { json } = await createOn({
      PidMode: 'container:tikv0',
      VolumesFrom: ['tikv0:ro'],
      NetworkMode: 'container:aaaa',
    });
    expect(json.HostConfig).toMatchObject({
      PidMode: `container:${fullId('a')}`,
      VolumesFrom: [`${fullId('a')}:ro`],
      NetworkMode: `container:${fullId('a')}`,
    });
  });

  it('joins only networks of the project, whatever the settings of an endpoint', async () => {
    const endpoints = (config: object) =>
      create({ HostConfig: { NetworkMode: 'none' }, NetworkingConfig: { EndpointsConfig: config } });
    await expect(endpoints({ bank_default: {} })).rejects.toThrow('No such network');
    await expect(endpoints({ bridge: {} })).rejects.toThrow('No such network');
    await expect(endpoints({ shop_default: { NetworkID: fullId('5') } })).rejects.toEqual(refusal('INVALID_INPUT'));
    await expect(endpoints({ shop_default: null, [fullId('4')]: {} })).rejects.toEqual(refusal('INVALID_INPUT'));
  });

  it('accepts images of the project: labelled, in use, or of a repository in use', async () => {
    for (const Image of ['pingcap/tikv:v8.5.3', 'pingcap/tikv:v8.5.4', 'built:1']) {
      await expect(create({ Image, HostConfig: { NetworkMode: 'none' } })).resolves.toBeDefined();
    }
    await expect(create({ Image: 'bank-core:1', HostConfig: { NetworkMode: 'none' } })).rejects.toEqual(
      refusal('NOT_FOUND'),
    );
    await expect(create({ Image: '../x', HostConfig: { NetworkMode: 'none' } })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
  });

  it('does not accept the label of another project', async () => {
    await expect(create({ Labels: { [PROJECT_LABEL]: 'bank' }, HostConfig: { NetworkMode: 'none' } })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
  });

  it('refuses ambiguous binds', async () => {
    for (const bind of [
      '../etc:/x',
      'a:b',
      'shop_data:/a:rw:/b',
      ':/x',
      'C:\\x:/y',
      'shop_data:/x:rshared',
      '~/x:/y',
    ]) {
      await expect(createOn({ Binds: [bind] }), bind).rejects.toEqual(refusal('INVALID_INPUT'));
    }
    await expect(create({ Volumes: { '/etc:/host': {} } })).rejects.toEqual(refusal('INVALID_INPUT'));
  });
});

describe('commands in containers', () => {
  const exec = (name: string, spec: object, options?: Options) =>
    through('POST', `/containers/${name}/exec`, { Cmd: ['id'], ...spec }, options);

  it('runs in ordinary containers and describes the command', async () => {
    const { text, json } = await exec('tikv0', { Cmd: ['rm', '-rf', '/data'], Privileged: false, Container: '' });
    expect(text).toBe('exec tikv0: rm -rf /data');
    expect(json).toEqual({ Cmd: ['rm', '-rf', '/data'], Privileged: false });
    expect((await through('POST', `/exec/${fullId('1')}/start`, { Detach: false, Tty: false })).text).toBe(
      'exec tikv0, start: ls -l',
    );
  });

  it('runs nothing in a container with access to its host', async () => {
    await expect(exec('agent', {})).rejects.toThrow('docker.allowPrivileged');
    await expect(exec('traefik', {})).rejects.toThrow('docker.allowHostMounts');
    await expect(exec('node-exporter', {})).rejects.toThrow('docker.allowHostNamespaces');
    await expect(through('PUT', '/containers/agent/archive?path=/', 'tar')).rejects.toEqual(refusal('NOT_ALLOWED'));
    await expect(through('POST', '/containers/agent/attach?stdin=1')).rejects.toEqual(refusal('NOT_ALLOWED'));
    await expect(exec('agent', {}, { allowPrivileged: true })).resolves.toBeDefined();
    // It can be started and stopped like any other container.
    await expect(through('POST', '/containers/agent/restart')).resolves.toBeDefined();
  });

  it('allows no privileged exec', async () => {
    await expect(exec('tikv0', { Privileged: true })).rejects.toThrow('docker.allowPrivileged');
    await expect(exec('tikv0', { privileged: true })).rejects.toEqual(refusal('INVALID_INPUT'));
    await expect(through('POST', `/exec/${fullId('3')}/start`, {})).rejects.toThrow('docker.allowPrivileged');
  });

  it('accepts no settings at start, and only plain arguments for ps', async () => {
    await expect(through('POST', '/containers/tikv0/start', { HostConfig: { Privileged: true } })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
    await expect(through('POST', '/containers/tikv0/start', {})).resolves.toBeDefined();
    await expect(through('GET', '/containers/tikv0/top?ps_args=$(id)')).rejects.toEqual(refusal('INVALID_INPUT'));
  });

  it('updates limits, not devices', async () => {
    await expect(
      through('POST', '/containers/tikv0/update', { Memory: 1e9, RestartPolicy: { Name: 'always' } }),
    ).resolves.toBeDefined();
    await expect(through('POST', '/containers/tikv0/update', { Devices: [{}] })).rejects.toEqual(
      refusal('NOT_ALLOWED'),
    );
    await expect(through('POST', '/containers/tikv0/update', { Memory: 2 ** 60 })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
  });
});

describe('networks, volumes and images', () => {
  it('labels a network and does not create a second one with the same name', async () => {
    const { json } = await through('POST', '/networks/create', {
      Name: 'shop_more',
      Driver: 'bridge',
      IPAM: { Driver: 'default', Options: {} },
    });
    expect(json).toMatchObject({ CheckDuplicate: true, Labels: { [PROJECT_LABEL]: 'shop' } });
    await expect(through('POST', '/networks/create', { Name: 'bank_default' })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
    // It would be found before the network with this ID.
    await expect(through('POST', '/networks/create', { Name: fullId('7') })).rejects.toEqual(refusal('INVALID_INPUT'));
  });

  it.each<object>([
    { Driver: 'macvlan', Options: { parent: 'eth0' } },
    { Driver: 'host' },
    { Options: { 'com.docker.network.bridge.name': 'docker0' } },
    { Scope: 'swarm' },
  ])("creates no network with access to the host's: %j", async (spec) => {
    await expect(through('POST', '/networks/create', { Name: 'x', ...spec })).rejects.toEqual(refusal('NOT_ALLOWED'));
  });

  it('creates no network from another one, and none for a swarm', async () => {
    for (const spec of [{ ConfigFrom: { Network: 'x' } }, { ConfigOnly: true }, { Ingress: true }]) {
      await expect(through('POST', '/networks/create', { Name: 'x', ...spec })).rejects.toEqual(
        refusal('INVALID_INPUT'),
      );
    }
  });

  it('connects containers of the project to networks of the project', async () => {
    const connect = (network: string, Container: string) =>
      through('POST', `/networks/${network}/connect`, { Container });
    const { path, json } = await connect('shop_default', 'tikv0');
    expect([path, json]).toEqual([`/networks/${fullId('4')}/connect`, { Container: fullId('a') }]);
    for (const [network, container] of [
      ['bank_default', 'tikv0'],
      ['shop_default', 'bank'],
      ['bridge', 'tikv0'],
    ]) {
      await expect(connect(network ?? '', container ?? '')).rejects.toEqual(refusal('NOT_FOUND'));
    }
    await expect(
      through('POST', '/networks/shop_default/disconnect', { Container: 'bank', Force: true }),
    ).rejects.toEqual(refusal('NOT_FOUND'));
  });

  it('labels a volume and does not return one of another project', async () => {
    const { json } = await through('POST', '/volumes/create', { Name: 'shop_new', Driver: 'local' });
    expect(json).toEqual({ Name: 'shop_new', Driver: 'local', Labels: { [PROJECT_LABEL]: 'shop' } });
    await expect(through('POST', '/volumes/create', { Name: 'bank_data' })).rejects.toEqual(refusal('INVALID_INPUT'));
    const bound = { Name: 'x', DriverOpts: { type: 'none', o: 'bind', device: '/' } };
    await expect(through('POST', '/volumes/create', bound)).rejects.toThrow('docker.allowHostMounts');
    await expect(through('POST', '/volumes/create', { Name: 'x', Driver: 'vieux/sshfs' })).rejects.toEqual(
      refusal('NOT_ALLOWED'),
    );
  });

  it('pulls only from repositories that the project uses', async () => {
    const pull = (image: string) => through('POST', `/images/create?fromImage=${encodeURIComponent(image)}&tag=v9`);
    expect((await pull('pingcap/tikv')).text).toBe('pull pingcap/tikv:v9');
    for (const image of [
      'bank-core',
      'evil.example:5000/pingcap/tikv',
      'pingcap/tikv-evil',
      'localhost/pingcap/tikv',
    ]) {
      await expect(pull(image), image).rejects.toEqual(refusal('NOT_ALLOWED'));
    }
  });
});
