// Which values of a HostConfig give a container access to its host. A closed table: every field
// and value that it does not name is such access. Pure.

import * as z from 'zod';
import { type HostConfig, hostConfigShape, mount } from './container-spec.ts';
import { isZeroValue } from './go-object.ts';

/** The flag of a class that allows a kind of access to the host. */
export type HostFlag = 'allowPrivileged' | 'allowHostMounts' | 'allowHostNamespaces';

/** A field whose value gives access to the host. */
export interface HostAccess {
  readonly flag: HostFlag;
  readonly field: string;
  readonly value: unknown;
}

/** What the engine writes into the HostConfig of a container that was created without options. */
export const engineDefaults = z
  .object({
    DefaultRuntime: z.string().nullish(),
    CgroupVersion: z.string().nullish(),
    LoggingDriver: z.string().nullish(),
  })
  .transform(({ DefaultRuntime, CgroupVersion, LoggingDriver }) => ({
    runtime: DefaultRuntime ?? 'runc',
    // Engines that do not report a version know only the first.
    cgroupVersion: CgroupVersion ?? '1',
    loggingDriver: LoggingDriver ?? 'json-file',
  }));
export type EngineDefaults = z.infer<typeof engineDefaults>;

/** Log drivers that keep logs on the host itself. */
const LOCAL_LOGS: ReadonlySet<string> = new Set(['', 'json-file', 'local', 'none']);
const LOG_OPTIONS: ReadonlySet<string> = new Set(['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size']);
const HARMLESS_SECURITY = ['no-new-privileges', 'no-new-privileges:true', 'no-new-privileges=true'] as const;
/** Sysctls that affect only the container's own namespaces. */
const OWN_SYSCTL = /^(net\.|kernel\.(msg|sem|shm)|fs\.mqueue\.)/;
/**
 * Options of a tmpfs. With others, such as "bind", it is a mount of another kind, whose source is a
 * path of the host.
 */
const TMPFS =
  /^((rw|ro|(no)?(exec|suid|dev|atime|diratime)|(size|mode|uid|gid|nr_inodes|nr_blocks)=[0-9]+[kmg%]?)(,(?!$)|$))*$/i;
/** Limits that let a process take the processors from the host's. */
const SCHEDULING_LIMITS: ReadonlySet<string> = new Set(['rtprio', 'rttime', 'nice']);
/** What every engine since 18.09 masks or makes read-only. Newer engines add to it. */
const MASKED = [
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
];
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

interface Rule {
  readonly flag: HostFlag;
  /** The values that give no access. Values that Go writes for an unset field never do. */
  readonly ordinary: z.ZodType;
}

/**
 * The rules for each field.
 * @param engine the engine's defaults, for an existing container; undefined for a new one, which
 * must not name them
 */
function rules(engine: EngineDefaults | undefined): Readonly<Record<keyof HostConfig, Rule>> {
  const [privileged, mounts, namespaces] = ['allowPrivileged', 'allowHostMounts', 'allowHostNamespaces'] as const;
  const only = (flag: HostFlag, ordinary: z.ZodType): Rule => ({ flag, ordinary });
  const unset = (flag: HostFlag): Rule => ({ flag, ordinary: z.never() });
  /** Any value of the right type. */
  const everyValue = (field: keyof HostConfig): Rule => ({ flag: privileged, ordinary: hostConfigShape[field] });
  /** The engine's own list, which must not be shortened. A new container must not set one. */
  const keeps = (paths: readonly string[]): Rule =>
    only(
      privileged,
      engine === undefined
        ? z.never()
        : z.array(z.string()).refine((list) => paths.every((path) => list.includes(path))),
    );
  return {
    CpuShares: everyValue('CpuShares'),
    Memory: everyValue('Memory'),
    NanoCpus: everyValue('NanoCpus'),
    CgroupParent: unset(privileged),
    BlkioWeight: everyValue('BlkioWeight'),
    CpuPeriod: everyValue('CpuPeriod'),
    CpuQuota: everyValue('CpuQuota'),
    CpuRealtimePeriod: unset(privileged),
    CpuRealtimeRuntime: unset(privileged),
    CpusetCpus: everyValue('CpusetCpus'),
    CpusetMems: everyValue('CpusetMems'),
    Devices: unset(privileged),
    DeviceCgroupRules: unset(privileged),
    DeviceRequests: unset(privileged),
    KernelMemory: everyValue('KernelMemory'),
    KernelMemoryTCP: everyValue('KernelMemoryTCP'),
    MemoryReservation: everyValue('MemoryReservation'),
    MemorySwap: everyValue('MemorySwap'),
    MemorySwappiness: everyValue('MemorySwappiness'),
    OomKillDisable: unset(privileged),
    PidsLimit: everyValue('PidsLimit'),
    Ulimits: only(
      privileged,
      z.array(z.looseObject({ Name: z.string().refine((name) => !SCHEDULING_LIMITS.has(name.toLowerCase())) })),
    ),
    Binds: only(mounts, z.array(z.string().regex(/^([^/:][^:]*:.*|[^:]*)$/))),
    Mounts: only(mounts, z.array(mount.refine(isOrdinaryMount))),
    VolumesFrom: everyValue('VolumesFrom'),
    VolumeDriver: only(mounts, z.literal('local')),
    ContainerIDFile: everyValue('ContainerIDFile'),
    ConsoleSize: everyValue('ConsoleSize'),
    LogConfig: only(privileged, logConfig(engine)),
    // Other modes are the names of networks and containers, which are looked up.
    NetworkMode: only(
      namespaces,
      z.string().refine((mode) => mode !== 'host' && !/^ns:/.test(mode)),
    ),
    PortBindings: everyValue('PortBindings'),
    PublishAllPorts: everyValue('PublishAllPorts'),
    RestartPolicy: everyValue('RestartPolicy'),
    AutoRemove: everyValue('AutoRemove'),
    CapAdd: unset(privileged),
    CapDrop: everyValue('CapDrop'),
    Dns: everyValue('Dns'),
    DnsOptions: everyValue('DnsOptions'),
    DnsSearch: everyValue('DnsSearch'),
    ExtraHosts: everyValue('ExtraHosts'),
    GroupAdd: everyValue('GroupAdd'),
    OomScoreAdj: only(privileged, z.number().int().min(0)),
    PidMode: only(namespaces, z.string().regex(/^container:/)),
    IpcMode: only(namespaces, z.string().regex(/^(none|private|shareable|container:.*)$/)),
    UTSMode: unset(namespaces),
    UsernsMode: unset(namespaces),
    // On cgroup v1, the engine's own default is the host's.
    CgroupnsMode: only(namespaces, z.enum(engine?.cgroupVersion === '1' ? ['private', 'host'] : ['private'])),
    Privileged: unset(privileged),
    ReadonlyRootfs: everyValue('ReadonlyRootfs'),
    SecurityOpt: only(privileged, z.array(z.enum(HARMLESS_SECURITY))),
    MaskedPaths: keeps(MASKED),
    ReadonlyPaths: keeps(READONLY),
    StorageOpt: unset(privileged),
    Tmpfs: only(mounts, z.record(z.string(), z.string().regex(TMPFS))),
    ShmSize: everyValue('ShmSize'),
    Sysctls: only(privileged, z.record(z.string().regex(OWN_SYSCTL), z.string())),
    Runtime: only(
      privileged,
      engine === undefined ? z.never() : z.enum(['runc', 'io.containerd.runc.v2', engine.runtime]),
    ),
    Isolation: only(privileged, z.literal('default')),
    Init: everyValue('Init'),
    Annotations: unset(privileged),
  };
}

function isOrdinaryMount({ Type, VolumeOptions }: z.infer<typeof mount>): boolean {
  const { Name = '', Options } = VolumeOptions?.DriverConfig ?? {};
  return Type === 'tmpfs' || (Type === 'volume' && ['', 'local'].includes(Name) && isZeroValue(Options));
}

/** Options of the engine's own driver are its administrator's. */
function logConfig(engine: EngineDefaults | undefined): z.ZodType {
  return z
    .object({ Type: z.string().default(''), Config: z.record(z.string(), z.string()).nullish() })
    .refine(
      ({ Type, Config }) =>
        (engine !== undefined && Type === engine.loggingDriver && !LOCAL_LOGS.has(Type)) ||
        (LOCAL_LOGS.has(Type) && Object.keys(Config ?? {}).every((option) => LOG_OPTIONS.has(option))),
    );
}

/** An empty list of these removes the masks. Only an absent one keeps them. */
const MASKS: ReadonlySet<string> = new Set(['MaskedPaths', 'ReadonlyPaths']);

/** The fields that give access to the host, also those that this version does not know. */
export function listHostAccess(
  host: Readonly<Record<string, unknown>>,
  engine: EngineDefaults | undefined,
): readonly HostAccess[] {
  const known = new Map<string, Rule>(Object.entries(rules(engine)));
  return Object.entries(host).flatMap(([field, value]) => {
    const isUnset = MASKS.has(field) ? value === undefined || value === null : isZeroValue(value);
    if (isUnset) return [];
    const rule = known.get(field);
    if (rule?.ordinary.safeParse(value).success) return [];
    return [{ flag: rule?.flag ?? 'allowPrivileged', field, value }];
  });
}

/** A field with its value, for messages. */
export function describeField(field: string, value: unknown): string {
  return `${field} ${typeof value === 'string' ? value.slice(0, 200) : JSON.stringify(value)?.slice(0, 200)}`;
}
