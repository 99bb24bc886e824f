// The facts about a Docker host's objects that decisions depend on.

import * as z from 'zod';
import { describeField, type EngineDefaults, type HostFlag, listHostAccess } from './host-access.ts';
import { labels } from './scope.ts';

export { type EngineDefaults, engineDefaults } from './host-access.ts';

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const texts = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const id = z.string().regex(/^[0-9a-f]{64}$/);

const mountFacts = z.object({ Type: text, Name: text, Source: text, RW: z.boolean().nullish() });
type MountFacts = z.infer<typeof mountFacts>;

/** Access to the host from a container, and the flag that a class needs to run commands in it. */
export interface Power {
  readonly flag: HostFlag;
  readonly why: string;
}

/** Facts about a container, from what the engine shows of it. */
export const containerFacts = (engine: EngineDefaults) =>
  z
    .object({
      Id: id,
      Name: text,
      Image: text,
      Config: z.object({ Labels: labels, Image: text, Tty: z.boolean().optional() }),
      HostConfig: z.record(z.string(), z.unknown()).nullish(),
      Mounts: z.array(mountFacts).nullish(),
      NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()).nullish() }).nullish(),
    })
    .transform(({ Id, Name, Image, Config, HostConfig, Mounts, NetworkSettings }) => ({
      id: Id,
      name: Name.replace(/^\//, ''),
      labels: Config.Labels,
      image: Config.Image,
      imageID: Image,
      /** Its access to the host by its own configuration. Empty for an ordinary container. */
      powers: listPowers(HostConfig ?? undefined, Mounts ?? [], engine),
      /** Namespaces that it shares, as `host` or `container:…`. */
      shares: {
        NetworkMode: foreignMode(HostConfig?.NetworkMode),
        PidMode: foreignMode(HostConfig?.PidMode),
        IpcMode: foreignMode(HostConfig?.IpcMode),
      },
      /** The networks that it is in or will join. */
      networks: [
        ...new Set([...joinedNetwork(HostConfig?.NetworkMode), ...Object.keys(NetworkSettings?.Networks ?? {})]),
      ],
      volumes: (Mounts ?? [])
        .filter(({ Type, Name: volume }) => Type === 'volume' && volume !== '')
        .map(({ Name: volume, RW }) => ({ name: volume, writable: RW !== false })),
    }));
export type ContainerFacts = z.infer<ReturnType<typeof containerFacts>>;

export const execFacts = z
  .object({
    ID: id,
    ContainerID: id,
    ProcessConfig: z.object({ entrypoint: text, arguments: texts, privileged: z.boolean().nullish() }).optional(),
  })
  .transform(({ ID, ContainerID, ProcessConfig }) => ({
    id: ID,
    containerID: ContainerID,
    command: ProcessConfig === undefined ? [] : [ProcessConfig.entrypoint, ...ProcessConfig.arguments],
    privileged: ProcessConfig?.privileged === true,
  }));
export type ExecFacts = z.infer<typeof execFacts>;

export const networkFacts = z
  .object({
    Id: z.string().min(1),
    Name: text,
    Labels: labels,
    Driver: text,
    IPAM: z.object({ Config: z.array(z.object({ Subnet: text, Gateway: text })).nullish() }).nullish(),
  })
  .transform(({ Id, Name, Labels, Driver, IPAM }) => ({
    id: Id,
    name: Name,
    labels: Labels,
    driver: Driver,
    subnets: (IPAM?.Config ?? []).map(({ Subnet, Gateway }) => ({
      subnet: Subnet,
      gateway: Gateway.split('/')[0] ?? '',
    })),
  }));
export type NetworkFacts = z.infer<typeof networkFacts>;

export const volumeFacts = z
  .object({
    Name: z.string().min(1),
    Labels: labels,
    Driver: text,
    Options: z.record(z.string(), z.unknown()).nullish(),
  })
  .transform(({ Name, Labels, Driver, Options }) => ({
    name: Name,
    labels: Labels,
    driver: Driver,
    options: Options ?? {},
  }));
export type VolumeFacts = z.infer<typeof volumeFacts>;

export const imageFacts = z
  .object({
    Id: z.string().min(1),
    RepoTags: texts,
    RepoDigests: texts,
    Config: z.object({ Labels: labels }).nullish(),
  })
  .transform(({ Id, RepoTags, RepoDigests, Config }) => ({
    id: Id,
    references: [...RepoTags, ...RepoDigests],
    labels: Config?.Labels ?? {},
  }));
export type ImageFacts = z.infer<typeof imageFacts>;

/** Images that the scope's containers use. */
export interface ScopeImages {
  readonly ids: ReadonlySet<string>;
  /** Without tag and digest. */
  readonly repositories: ReadonlySet<string>;
}

/** Facts about one host. Undefined if the object does not exist. */
export interface DockerFacts {
  container(ref: string): Promise<ContainerFacts | undefined>;
  /** All containers of the host, also outside the scope, that mount a volume. */
  containersWith(volume: string): Promise<readonly ContainerFacts[]>;
  /** The other containers, also outside the scope, that see a container's processes or memory. */
  entering(container: Pick<ContainerFacts, 'id' | 'name'>): Promise<readonly ContainerFacts[]>;
  /** The Compose projects that containers in the scope belong to. */
  projects(): Promise<ReadonlySet<string>>;
  exec(id: string): Promise<ExecFacts | undefined>;
  network(ref: string): Promise<NetworkFacts | undefined>;
  volume(name: string): Promise<VolumeFacts | undefined>;
  image(ref: string): Promise<ImageFacts | undefined>;
  /** The images of existing containers and of those seen before. */
  images(): Promise<ScopeImages>;
}

/**
 * The repository of a reference: without tag, digest and default registry, as Docker shortens it.
 */
export function parseRepository(reference: string): string {
  const undigested = reference.split('@')[0] ?? '';
  const slash = undigested.lastIndexOf('/');
  const colon = undigested.indexOf(':', slash + 1);
  const named = colon === -1 ? undigested : undigested.slice(0, colon);
  const bare = named.replace(/^(index\.)?docker\.io\//, '');
  return bare.replace(/^library\/(?=[^/]+$)/, '');
}

/** Whether a container sees the processes or the memory of another one, which may be named. */
export function enters(
  { shares }: Pick<ContainerFacts, 'shares'>,
  { id, name }: { id: string; name: string },
): boolean {
  return [shares.PidMode, shares.IpcMode].some((mode) => mode === `container:${id}` || mode === `container:${name}`);
}

function foreignMode(mode: unknown): string | undefined {
  return typeof mode === 'string' && (mode === 'host' || mode.startsWith('container:')) ? mode : undefined;
}

/** Modes that name no network that could give access to the host. */
const NO_NETWORK: ReadonlySet<string> = new Set(['', 'default', 'bridge', 'none', 'host']);

function joinedNetwork(mode: unknown): string[] {
  return typeof mode === 'string' && !NO_NETWORK.has(mode) && foreignMode(mode) === undefined ? [mode] : [];
}

function listPowers(
  host: Readonly<Record<string, unknown>> | undefined,
  mounts: readonly MountFacts[],
  engine: EngineDefaults,
): readonly Power[] {
  if (host === undefined) return [{ flag: 'allowPrivileged', why: 'its host does not show its HostConfig' }];
  return [
    ...listHostAccess(host, engine).map(({ flag, field, value }): Power => {
      return { flag, why: `it has ${describeField(`HostConfig.${field}`, value)}` };
    }),
    // These are resolved, so they include what it mounts from other containers.
    ...mounts
      .filter(({ Type, Name }) => Type !== 'tmpfs' && (Type !== 'volume' || Name === ''))
      .map(({ Type, Source }): Power => ({ flag: 'allowHostMounts', why: `it mounts ${Type} ${Source} of its host` })),
  ];
}
