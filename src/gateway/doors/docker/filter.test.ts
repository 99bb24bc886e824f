// The docker door's filter, tested with attempts to break out of the project or out of a container.

import { describe, expect, it } from 'vitest';
import { type FilterOptions, refusal, through } from '../../../../test/support/docker-filter.ts';
import { fullId } from '../../../../test/support/fake-docker-facts.ts';
import { PROJECT_LABEL } from './scope.ts';

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
    ['/containers/json', '{"before":["bank"]}'],
    ['/containers/json', '{"since":{"nobody":true}}'],
    ['/images/json', '{"before":["bank-core:1"]}'],
    ['/images/json', '{"since":["bank-core:2"]}'],
    ['/images/json', '{"Before":["bank-core:2"]}'],
  ])('cannot be asked whether an object outside the project exists: %s %s', async (path, filters) => {
    await expect(through('GET', `${path}?filters=${encodeURIComponent(filters)}`)).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
  });

  it('passes the filters of images on, without a label', async () => {
    const { path } = await through('GET', '/images/json?filters={"dangling":["true"]}');
    expect(JSON.parse(new URL(path, 'http://x').searchParams.get('filters') ?? '')).toEqual({
      dangling: { true: true },
    });
    expect((await through('GET', '/images/json')).path).toBe('/images/json');
  });

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

describe('commands in containers', () => {
  const exec = (name: string, spec: object, options?: FilterOptions) =>
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

  it('accepts no settings at start', async () => {
    await expect(through('POST', '/containers/tikv0/start', { HostConfig: { Privileged: true } })).rejects.toEqual(
      refusal('INVALID_INPUT'),
    );
    await expect(through('POST', '/containers/tikv0/start', {})).resolves.toBeDefined();
  });

  it('says what a removal removes', async () => {
    const text = async (query: string) => (await through('DELETE', `/containers/tikv0${query}`)).text;
    expect(await text('?v=1&force=true')).toBe('rm --force --volumes tikv0');
    expect(await text('?v=0&force=False')).toBe('rm tikv0');
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
    // Without a tag, the daemon pulls all of them.
    const bare = async (image: string) => (await through('POST', `/images/create?fromImage=${image}`)).text;
    expect(await bare('pingcap/tikv')).toBe('pull --all-tags pingcap/tikv');
    expect(await bare('pingcap/tikv:v8')).toBe('pull pingcap/tikv:v8');
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
