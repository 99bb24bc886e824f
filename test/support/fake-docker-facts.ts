// A Docker host with a few objects, for tests of the filter: one project that is open, and one of
// another owner.

import {
  containerFacts,
  type DockerFacts,
  execFacts,
  imageFacts,
  networkFacts,
  parseRepository,
  volumeFacts,
} from '../../src/gateway/doors/docker/facts.ts';
import { PROJECT_LABEL } from '../../src/gateway/doors/docker/scope.ts';

/** An id of 64 digits that is easy to distinguish from others. */
export const fullId = (digit: string): string => digit.repeat(64);

const project = (name: string) => ({ [PROJECT_LABEL]: name });
const container = (id: string, name: string, owner: string, image: string, more: object = {}) => ({
  Id: fullId(id),
  Name: `/${name}`,
  Image: `sha256:${image}`,
  Config: { Image: image, Labels: project(owner) },
  ...more,
});

const CONTAINERS = [
  container('a', 'tikv0', 'shop', 'pingcap/tikv:v8.5.3'),
  container('b', 'node-exporter', 'shop', 'exporter', { HostConfig: { NetworkMode: 'host', PidMode: 'host' } }),
  container('c', 'agent', 'shop', 'agent', { HostConfig: { Privileged: true } }),
  container('d', 'traefik', 'shop', 'traefik', { Mounts: [{ Type: 'bind', Source: '/var/run/docker.sock' }] }),
  container('e', 'shadow', 'shop', 'shadow', { HostConfig: { NetworkMode: `container:${fullId('f')}` } }),
  container('f', 'bank', 'bank', 'bank-core:1'),
  { Id: fullId('9'), Name: '/bare', Image: 'sha256:bare', Config: { Image: 'bare', Labels: null } },
];
const EXECS = [
  { ID: fullId('1'), ContainerID: fullId('a'), ProcessConfig: { entrypoint: 'ls', arguments: ['-l'] } },
  { ID: fullId('2'), ContainerID: fullId('f') },
  { ID: fullId('3'), ContainerID: fullId('a'), ProcessConfig: { entrypoint: 'sh', privileged: true } },
];
const NETWORKS = [
  { Id: fullId('4'), Name: 'shop_default', Labels: project('shop') },
  { Id: fullId('5'), Name: 'bank_default', Labels: project('bank') },
  { Id: fullId('6'), Name: 'bridge', Labels: {} },
];
const VOLUMES = [
  { Name: 'shop_data', Labels: project('shop') },
  { Name: 'bank_data', Labels: project('bank') },
];
const IMAGES = [
  { Id: 'sha256:pingcap/tikv:v8.5.3', RepoTags: ['pingcap/tikv:v8.5.3'] },
  { Id: 'sha256:other-tikv', RepoTags: ['pingcap/tikv:v8.5.4'] },
  { Id: 'sha256:bank', RepoTags: ['bank-core:1'] },
  { Id: 'sha256:labelled', RepoTags: ['built:1'], Config: { Labels: project('shop') } },
];

const named = (name: string) => (object: { Id: string; Name: string }) =>
  object.Id === name || object.Name.replace(/^\//, '') === name || (name.length >= 4 && object.Id.startsWith(name));

/** Finds objects as the daemon does: by id, by name, or by the prefix of an id. */
export function fakeFacts(): DockerFacts {
  return {
    container: async (ref) => containerFacts.optional().parse(CONTAINERS.find(named(ref))),
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
