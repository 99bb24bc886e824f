// The creation of a container, tested with attempts to break out of the project or the container.

import { describe, expect, it } from 'vitest';
import { create, createOn, refusal, through } from '../../../../test/support/docker-filter.ts';
import { fakeFacts, fullId } from '../../../../test/support/fake-docker-facts.ts';
import { dockerAccess } from '../../../api/docker-access.ts';
import { filterRequest } from './filter.ts';
import { readRequest } from './route.ts';
import { PROJECT_LABEL } from './scope.ts';

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
    // Another owner may have a name for the same image. The owner's other images do not become the
    // project's.
    for (const [named, forwarded] of [
      ['pingcap/tikv:v8.5.3', 'pingcap/tikv:v8.5.3'],
      ['bank/base:1', 'sha256:pingcap/tikv:v8.5.3'],
      ['built:1', 'sha256:labelled'],
    ])
      expect((await create({ Image: named, HostConfig: { NetworkMode: 'none' } })).json.Image).toBe(forwarded);
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
