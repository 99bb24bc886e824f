// The facts about a Docker host's objects that decisions depend on.

import { z } from 'zod';
import { labels } from './scope.ts';

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const texts = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const id = z.string().regex(/^[0-9a-f]{64}$/);

const hostFacts = z.object({
  Privileged: z.boolean().nullish(),
  NetworkMode: text,
  PidMode: text,
  IpcMode: text,
  CapAdd: texts,
  SecurityOpt: texts,
  Devices: z.array(z.unknown()).nullish(),
});

/** Access to the host from a container, and the flag that a class needs to run commands in it. */
export interface Power {
  readonly flag: 'allowPrivileged' | 'allowHostMounts' | 'allowHostNamespaces';
  readonly why: string;
}

export const containerFacts = z
  .object({
    Id: id,
    Name: text,
    Image: text,
    Config: z.object({ Labels: labels, Image: text, Tty: z.boolean().optional() }),
    HostConfig: hostFacts.optional(),
    Mounts: z.array(z.object({ Type: text, Source: text })).nullish(),
  })
  .transform(({ Id, Name, Image, Config, HostConfig, Mounts }) => ({
    id: Id,
    name: Name.replace(/^\//, ''),
    labels: Config.Labels,
    image: Config.Image,
    imageID: Image,
    /** Its access to the host. Empty for an ordinary container. */
    powers: listPowers(HostConfig, Mounts ?? []),
    /** Namespaces that it shares, as `host` or `container:…`. */
    shares: {
      NetworkMode: foreignMode(HostConfig?.NetworkMode),
      PidMode: foreignMode(HostConfig?.PidMode),
      IpcMode: foreignMode(HostConfig?.IpcMode),
    },
  }));
export type ContainerFacts = z.infer<typeof containerFacts>;

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
  .object({ Id: z.string().min(1), Name: text, Labels: labels })
  .transform(({ Id, Name, Labels }) => ({ id: Id, name: Name, labels: Labels }));
export type NetworkFacts = z.infer<typeof networkFacts>;

export const volumeFacts = z
  .object({ Name: z.string().min(1), Labels: labels })
  .transform(({ Name, Labels }) => ({ name: Name, labels: Labels }));
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

/** Folders of the host that give access to the daemon's socket or to the whole host. */
const SOCKET_PATHS: ReadonlySet<string> = new Set([
  '/',
  '/run',
  '/var',
  '/var/run',
  '/run/docker.sock',
  '/var/run/docker.sock',
  '/proc',
  '/sys',
  '/dev',
  '/etc',
  '/root',
]);

function foreignMode(mode: string | undefined): string | undefined {
  return mode === 'host' || mode?.startsWith('container:') ? mode : undefined;
}

function listPowers(
  host: z.infer<typeof hostFacts> | undefined,
  mounts: readonly { Type: string; Source: string }[],
): readonly Power[] {
  const powers: Power[] = [];
  const has = (flag: Power['flag'], why: string) => powers.push({ flag, why });
  if (host?.Privileged === true) has('allowPrivileged', 'it is privileged');
  if ((host?.CapAdd.length ?? 0) > 0) has('allowPrivileged', `it has added capabilities (${host?.CapAdd.join(', ')})`);
  if ((host?.Devices?.length ?? 0) > 0) has('allowPrivileged', 'it has access to devices of its host');
  if (host?.SecurityOpt.some((option) => option.includes('unconfined'))) has('allowPrivileged', 'it is not confined');
  for (const mode of [host?.NetworkMode, host?.PidMode, host?.IpcMode]) {
    if (mode === 'host') has('allowHostNamespaces', 'it shares a namespace of its host');
  }
  const socketMount = mounts.find(
    ({ Type, Source }) => Type === 'bind' && SOCKET_PATHS.has(Source.replace(/(?<=.)\/+$/, '')),
  );
  if (socketMount !== undefined) has('allowHostMounts', `it mounts ${socketMount.Source} of its host`);
  return powers;
}
