// The body of a request to create a container, and its binds and mounts. Pure.

import * as z from 'zod';
import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { goObject, isZeroValue } from './go-object.ts';
import { isImageReference, isName } from './route.ts';

const int = z.number().int();
const strings = z.array(z.string());
const stringMap = z.record(z.string(), z.string());
const command = z.union([z.string(), strings]);
/** Accepted only if the class allows privileged containers. Its contents are not checked. */
const opaque = z.json();

const healthcheck = goObject({
  Test: strings.optional(),
  Interval: int.optional(),
  Timeout: int.optional(),
  StartPeriod: int.optional(),
  StartInterval: int.optional(),
  Retries: int.optional(),
});

const resourceShape = {
  CpuShares: int.optional(),
  Memory: int.optional(),
  NanoCpus: int.optional(),
  CgroupParent: z.string().optional(),
  BlkioWeight: int.optional(),
  CpuPeriod: int.optional(),
  CpuQuota: int.optional(),
  CpuRealtimePeriod: int.optional(),
  CpuRealtimeRuntime: int.optional(),
  CpusetCpus: z.string().optional(),
  CpusetMems: z.string().optional(),
  Devices: opaque.optional(),
  DeviceCgroupRules: opaque.optional(),
  DeviceRequests: opaque.optional(),
  KernelMemory: int.optional(),
  KernelMemoryTCP: int.optional(),
  MemoryReservation: int.optional(),
  MemorySwap: int.optional(),
  MemorySwappiness: int.optional(),
  OomKillDisable: z.boolean().optional(),
  PidsLimit: int.optional(),
  Ulimits: z.array(goObject({ Name: z.string(), Hard: int.optional(), Soft: int.optional() })).optional(),
};

const restartPolicy = goObject({ Name: z.string().optional(), MaximumRetryCount: int.optional() });

export const mount = goObject({
  Type: z.string(),
  Source: z.string().optional(),
  Target: z.string().optional(),
  ReadOnly: z.boolean().optional(),
  Consistency: z.string().optional(),
  BindOptions: goObject({
    Propagation: z.string().optional(),
    NonRecursive: z.boolean().optional(),
    CreateMountpoint: z.boolean().optional(),
    ReadOnlyNonRecursive: z.boolean().optional(),
    ReadOnlyForceRecursive: z.boolean().optional(),
  }).optional(),
  VolumeOptions: goObject({
    NoCopy: z.boolean().optional(),
    Labels: stringMap.optional(),
    Subpath: z.string().optional(),
    DriverConfig: goObject({ Name: z.string().optional(), Options: stringMap.optional() }).optional(),
  }).optional(),
  TmpfsOptions: goObject({ SizeBytes: int.optional(), Mode: int.optional() }).optional(),
});
export type Mount = z.infer<typeof mount>;

export const hostConfigShape = {
  ...resourceShape,
  Binds: strings.optional(),
  Mounts: z.array(mount).optional(),
  VolumesFrom: strings.optional(),
  VolumeDriver: z.string().optional(),
  // Used only by the client. The daemon ignores it.
  ContainerIDFile: z.string().optional(),
  ConsoleSize: z.array(int).optional(),
  LogConfig: goObject({ Type: z.string().optional(), Config: stringMap.optional() }).optional(),
  NetworkMode: z.string().optional(),
  PortBindings: z
    .record(
      z.string(),
      z.array(goObject({ HostIp: z.string().optional(), HostPort: z.string().optional() })).nullable(),
    )
    .optional(),
  PublishAllPorts: z.boolean().optional(),
  RestartPolicy: restartPolicy.optional(),
  AutoRemove: z.boolean().optional(),
  CapAdd: strings.optional(),
  CapDrop: strings.optional(),
  Dns: strings.optional(),
  DnsOptions: strings.optional(),
  DnsSearch: strings.optional(),
  ExtraHosts: strings.optional(),
  GroupAdd: strings.optional(),
  OomScoreAdj: int.optional(),
  PidMode: z.string().optional(),
  IpcMode: z.string().optional(),
  UTSMode: z.string().optional(),
  UsernsMode: z.string().optional(),
  CgroupnsMode: z.string().optional(),
  Privileged: z.boolean().optional(),
  ReadonlyRootfs: z.boolean().optional(),
  SecurityOpt: strings.optional(),
  MaskedPaths: strings.optional(),
  ReadonlyPaths: strings.optional(),
  StorageOpt: stringMap.optional(),
  Tmpfs: stringMap.optional(),
  ShmSize: int.optional(),
  Sysctls: stringMap.optional(),
  Runtime: z.string().optional(),
  Isolation: z.string().optional(),
  Init: z.boolean().optional(),
  Annotations: stringMap.optional(),
};
const hostConfig = goObject(hostConfigShape);
export type HostConfig = z.infer<typeof hostConfig>;

/** The settings of an endpoint. Its network is given outside. */
export const endpoint = goObject({
  IPAMConfig: goObject({
    IPv4Address: z.string().optional(),
    IPv6Address: z.string().optional(),
    LinkLocalIPs: strings.optional(),
  }).optional(),
  Aliases: strings.optional(),
  Links: strings.optional(),
  MacAddress: z.string().optional(),
  GwPriority: int.optional(),
});

export const containerSpec = goObject({
  Image: z.string(),
  Hostname: z.string().optional(),
  Domainname: z.string().optional(),
  User: z.string().optional(),
  AttachStdin: z.boolean().optional(),
  AttachStdout: z.boolean().optional(),
  AttachStderr: z.boolean().optional(),
  ExposedPorts: z.record(z.string(), z.object({})).optional(),
  Tty: z.boolean().optional(),
  OpenStdin: z.boolean().optional(),
  StdinOnce: z.boolean().optional(),
  Env: strings.optional(),
  Cmd: command.optional(),
  Entrypoint: command.optional(),
  Healthcheck: healthcheck.optional(),
  Volumes: z.record(z.string().regex(/^\/[^:]*$/, 'a path inside the container'), z.object({})).optional(),
  WorkingDir: z.string().optional(),
  NetworkDisabled: z.boolean().optional(),
  MacAddress: z.string().optional(),
  Labels: stringMap.optional(),
  StopSignal: z.string().optional(),
  StopTimeout: int.optional(),
  Shell: strings.optional(),
  HostConfig: hostConfig.optional(),
  NetworkingConfig: goObject({ EndpointsConfig: z.record(z.string(), endpoint.nullable()).optional() }).optional(),
});
export type ContainerSpec = z.infer<typeof containerSpec>;

/** The body of a request to update a container. */
export const updateSpec = goObject({ ...resourceShape, RestartPolicy: restartPolicy.optional() });

/** A parsed bind or mount. The volume may not exist. */
export interface Bind {
  /** Undefined: an anonymous volume. */
  readonly volume: string | undefined;
  /** Whether the container cannot write to it. */
  readonly readOnly: boolean;
}

const BIND_OPTIONS: ReadonlySet<string> = new Set(['ro', 'rw', 'z', 'Z', 'nocopy', 'copy']);

/**
 * Checks a bind and returns its volume. The class decides on host paths. @throws NotAllowed,
 * InvalidInput
 */
export function checkBind(bind: string, access: DockerAccess): Bind {
  const parts = bind.split(':');
  const [source = '', target, options] = parts;
  if (parts.length === 1) return { volume: undefined, readOnly: false };
  if (parts.length > 3 || source === '') throw new InvalidInput(`"${bind.slice(0, 200)}" is not a valid bind`);
  if (source.startsWith('/')) {
    if (!access.allowHostMounts) throw needs('allowHostMounts', `host path ${source.slice(0, 200)}`);
    return { volume: undefined, readOnly: false };
  }
  if (!isName(source))
    throw new InvalidInput(`"${source.slice(0, 100)}" is neither a host path nor a valid volume name`);
  const known = options === undefined || options.split(',').every((option) => BIND_OPTIONS.has(option));
  if (!target?.startsWith('/') || !known) throw new InvalidInput(`"${bind.slice(0, 200)}" is not a valid bind`);
  return { volume: source, readOnly: options?.split(',').includes('ro') === true };
}

/** Checks a mount and returns its volume, if any. @throws NotAllowed, InvalidInput */
export function checkMount(wanted: Mount, access: DockerAccess): Bind {
  switch (wanted.Type) {
    case 'tmpfs':
      if (!isZeroValue(wanted.Source)) throw new InvalidInput('a mount of type tmpfs must not have a source');
      return { volume: undefined, readOnly: false };
    case 'bind':
      if (!access.allowHostMounts) throw needs('allowHostMounts', `host path ${(wanted.Source ?? '').slice(0, 200)}`);
      return { volume: undefined, readOnly: false };
    case 'volume': {
      const { Name = '', Options } = wanted.VolumeOptions?.DriverConfig ?? {};
      checkVolumeDriver(Name, Options, access);
      const source = wanted.Source ?? '';
      if (source === '') return { volume: undefined, readOnly: false };
      if (!isName(source)) throw new InvalidInput(`"${source.slice(0, 100)}" is not a valid volume name`);
      return { volume: source, readOnly: wanted.ReadOnly === true };
    }
    default:
      throw new NotAllowed(`mount type ${wanted.Type.slice(0, 20)} is not allowed: use volume, tmpfs or bind`);
  }
}

/**
 * Options of the local driver can name a folder of the host or another server. @throws NotAllowed
 */
export function checkVolumeDriver(
  driver: string | undefined,
  options: Readonly<Record<string, string>> | undefined,
  access: DockerAccess,
): void {
  requireOneOf('volume driver', driver, ['', 'local']);
  if (!isZeroValue(options) && !access.allowHostMounts)
    throw needs('allowHostMounts', `options of a volume driver ${JSON.stringify(options).slice(0, 200)}`);
}

/** @throws InvalidInput */
export function checkImageName(image: string): void {
  if (!isImageReference(image)) throw new InvalidInput(`"${image.slice(0, 100)}" is not a valid image name`);
}

/**
 * The error for something that the class allows only with a flag.
 * @param instead what the caller can do without the flag
 */
export function needs(flag: keyof DockerAccess, what: string, instead = 'leave it out'): NotAllowed {
  return new NotAllowed(`the AgentClass does not allow ${what}: ${instead}, or set docker.${flag} in the class`);
}

/** @throws NotAllowed if the daemon could read the value as something else than these */
export function requireOneOf(field: string, value: string | undefined, allowed: readonly string[]): void {
  if (value !== undefined && !allowed.includes(value)) {
    const words = allowed.map((word) => (word === '' ? 'nothing' : `"${word}"`)).join(' or ');
    throw new NotAllowed(`${field} ${value.slice(0, 60)} is not allowed: use ${words}`);
  }
}
