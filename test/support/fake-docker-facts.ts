// A Docker host with a few objects, for tests of the filter: one project that is open, and one of
// another owner.

import {
  containerFacts,
  type DockerFacts,
  engineDefaults,
  enters,
  execFacts,
  imageFacts,
  networkFacts,
  parseRepository,
  volumeFacts,
} from '../../src/gateway/doors/docker/facts.ts';
import { PROJECT_LABEL } from '../../src/gateway/doors/docker/scope.ts';
import { RECORDED_ENGINE, RECORDED_HOST_CONFIG } from './recorded-host-config.ts';

/** An id of 64 digits that is easy to distinguish from others. */
export const fullId = (digit: string): string => digit.repeat(64);

const project = (name: string) => ({ [PROJECT_LABEL]: name });
interface Inspected {
  Id: string;
  Name: string;
  Config: { Image: string; Labels: Record<string, string> | null };
  HostConfig: Record<string, unknown>;
  Mounts: Record<string, unknown>[];
  [field: string]: unknown;
}

interface Differences {
  HostConfig?: Record<string, unknown>;
  Mounts?: Record<string, unknown>[];
  NetworkSettings?: object;
}

const container = (
  id: string,
  name: string,
  owner: string | undefined,
  image: string,
  { HostConfig = {}, Mounts = [], ...more }: Differences = {},
): Inspected => ({
  Id: id.length === 64 ? id : fullId(id),
  Name: `/${name}`,
  Image: `sha256:${image}`,
  Config: { Image: image, Labels: owner === undefined ? null : project(owner) },
  HostConfig: { ...RECORDED_HOST_CONFIG, ...HostConfig },
  Mounts,
  ...more,
});

/** A mount of a named volume, as `docker inspect` shows it. */
export const mountOf = (Name: string, RW = true) => ({
  ...{ Type: 'volume', Name, Source: `/var/lib/docker/volumes/${Name}/_data`, Destination: '/data' },
  ...{ Driver: 'local', Mode: 'z', RW, Propagation: '' },
});
const bindOf = (Source: string) => ({ Type: 'bind', Source, Destination: '/host', Mode: '', RW: true });

const CONTAINERS = [
  container('a', 'tikv0', 'shop', 'pingcap/tikv:v8.5.3'),
  container('b', 'node-exporter', 'shop', 'exporter', { HostConfig: { NetworkMode: 'host', PidMode: 'host' } }),
  container('c', 'agent', 'shop', 'agent', { HostConfig: { Privileged: true } }),
  container('d', 'traefik', 'shop', 'traefik', { Mounts: [bindOf('/var/run/docker.sock')] }),
  container('e', 'shadow', 'shop', 'shadow', { HostConfig: { NetworkMode: `container:${fullId('f')}` } }),
  container('f', 'bank', 'bank', 'bank-core:1'),
  container('9', 'bare', undefined, 'bare'),
  // They share volumes: an ordinary one that writes, a privileged one, and a foreign privileged one.
  container('1a', 'writer', 'shop', 'w', { Mounts: [mountOf('shop_scripts')] }),
  container('1b', 'runner', 'shop', 'r', {
    HostConfig: { Privileged: true },
    Mounts: [mountOf('shop_scripts', false)],
  }),
  container('1c', 'backup', undefined, 'b', { HostConfig: { Privileged: true }, Mounts: [mountOf('shop_backup')] }),
  container('1d', 'reader', 'shop', 'x', { Mounts: [mountOf('shop_backup', false)] }),
  container('2a', 'disk', 'shop', 'd', { Mounts: [mountOf('shop_disk')] }),
  container('2b', 'wired', 'shop', 'd', { HostConfig: { NetworkMode: 'lan' } }),
  container('2c', 'sidecar', 'shop', 'd', { HostConfig: { NetworkMode: `container:${fullId('a')}` } }),
  container('2d', 'peeper', 'shop', 'd', { HostConfig: { PidMode: `container:${fullId('c')}` } }),
].map((found) => ({ ...found, Id: found.Id.slice(0, 64) }));
const EXECS = [
  { ID: fullId('1'), ContainerID: fullId('a'), ProcessConfig: { entrypoint: 'ls', arguments: ['-l'] } },
  { ID: fullId('2'), ContainerID: fullId('f') },
  { ID: fullId('3'), ContainerID: fullId('a'), ProcessConfig: { entrypoint: 'sh', privileged: true } },
];
const subnet = (Subnet: string, Gateway: string) => ({ IPAM: { Driver: 'default', Config: [{ Subnet, Gateway }] } });
const NETWORKS = [
  {
    Id: fullId('4'),
    Name: 'shop_default',
    Labels: project('shop'),
    Driver: 'bridge',
    IPAM: {
      Config: [
        { Subnet: '172.20.0.0/16', Gateway: '172.20.0.1' },
        { Subnet: 'fd00:20::/64', Gateway: 'fd00:20::1' },
      ],
    },
  },
  {
    Id: fullId('5'),
    Name: 'bank_default',
    Labels: project('bank'),
    Driver: 'bridge',
    ...subnet('172.21.0.0/16', '172.21.0.1'),
  },
  { Id: fullId('6'), Name: 'bridge', Labels: {}, Driver: 'bridge', ...subnet('172.17.0.0/16', '172.17.0.1') },
  { Id: fullId('7'), Name: 'lan', Labels: {}, Driver: 'macvlan', ...subnet('192.168.1.0/24', '192.168.1.1') },
];
const VOLUMES = [
  { Name: 'shop_data', Labels: project('shop'), Driver: 'local', Options: null },
  { Name: 'bank_data', Labels: project('bank'), Driver: 'local', Options: null },
  { Name: 'shop_scripts', Labels: project('shop'), Driver: 'local', Options: null },
  { Name: 'shop_backup', Labels: project('shop'), Driver: 'local', Options: {} },
  { Name: 'shop_disk', Labels: project('shop'), Driver: 'local', Options: { type: 'none', o: 'bind', device: '/' } },
];
const IMAGES = [
  { Id: 'sha256:pingcap/tikv:v8.5.3', RepoTags: ['pingcap/tikv:v8.5.3', 'bank/base:1'] },
  { Id: 'sha256:other-tikv', RepoTags: ['pingcap/tikv:v8.5.4'] },
  { Id: 'sha256:bank', RepoTags: ['bank-core:1'] },
  { Id: 'sha256:labelled', RepoTags: ['built:1'], Config: { Labels: project('shop') } },
];

const named = (name: string) => (object: { Id: string; Name: string }) =>
  object.Id === name || object.Name.replace(/^\//, '') === name || (name.length >= 4 && object.Id.startsWith(name));

const parseContainer = containerFacts(engineDefaults.parse(RECORDED_ENGINE));

/** Finds objects as the daemon does: by id, by name, or by the prefix of an id. */
export function fakeFacts(more: readonly Inspected[] = []): DockerFacts {
  const containers = [...CONTAINERS, ...more];
  return {
    container: async (ref) => parseContainer.optional().parse(containers.find(named(ref))),
    containersWith: async (volume) =>
      containers
        .filter(({ Mounts }) => Mounts.some(({ Name }) => Name === volume))
        .map((found) => parseContainer.parse(found)),
    entering: async (entered) =>
      containers.map((found) => parseContainer.parse(found)).filter((found) => enters(found, entered)),
    projects: async () => new Set(['shop']),
    exec: async (id) => execFacts.optional().parse(EXECS.find(({ ID }) => ID === id)),
    network: async (ref) => networkFacts.optional().parse(NETWORKS.find(named(ref))),
    volume: async (name) => volumeFacts.optional().parse(VOLUMES.find(({ Name }) => Name === name)),
    image: async (ref) =>
      imageFacts.optional().parse(IMAGES.find(({ Id, RepoTags }) => Id === ref || RepoTags.includes(ref))),
    images: async () => ({
      ids: new Set(['sha256:pingcap/tikv:v8.5.3']),
      repositories: new Set([parseRepository('pingcap/tikv:v8.5.3')]),
    }),
  };
}

/** A container of the project as inspect shows it, for `fakeFacts`. */
export function inspected(name: string, differences: Differences): Inspected {
  return container('0', name, 'shop', 'pingcap/tikv:v8.5.3', differences);
}
