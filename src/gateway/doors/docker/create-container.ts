// Checks a request to create a container: it gives no access outside the container and the scope,
// and always has the scope's label.

import type * as z from 'zod';
import { errorMessage, InvalidInput, NotAllowed, NotFound } from '../../../errors.ts';
import {
  type ContainerSpec,
  checkBind,
  checkImageName,
  checkMount,
  checkVolumeDriver,
  type endpoint,
  needs,
} from './container-spec.ts';
import { checkHostConfig } from './host-config-check.ts';
import { checkEndpoint } from './network-rules.ts';
import { isName } from './route.ts';
import type { ScopedObjects } from './scoped-objects.ts';

type Endpoint = z.infer<typeof endpoint>;

/** The maximum number of containers in VolumesFrom. */
const MAX_CONTAINERS_NAMED = 32;

/**
 * The body to forward, in which names are replaced by IDs.
 * @throws NotAllowed, InvalidInput; NotFound only for the image, because clients then pull it
 */
export async function scopedContainer(wanted: ContainerSpec, objects: ScopedObjects): Promise<ContainerSpec> {
  const host = wanted.HostConfig ?? {};
  for (const bind of host.Binds ?? []) checkBind(bind, objects.access);
  for (const mount of host.Mounts ?? []) checkMount(mount, objects.access);
  checkHostConfig(host, objects.access);
  checkImageName(wanted.Image);
  const Image = await objects.imageReference(wanted.Image);
  try {
    return await withNeighbours({ ...wanted, Image }, objects);
  } catch (error) {
    if (error instanceof NotFound) throw new InvalidInput(errorMessage(error), error);
    throw error;
  }
}

async function withNeighbours(wanted: ContainerSpec, objects: ScopedObjects): Promise<ContainerSpec> {
  const host = wanted.HostConfig ?? {};
  const sources = [
    ...(host.Binds ?? []).map((bind) => checkBind(bind, objects.access)),
    ...(host.Mounts ?? []).map((mount) => checkMount(mount, objects.access)),
  ];
  // The daemon would create a missing volume without the scope's label.
  for (const name of new Set(sources.flatMap(({ volume }) => volume ?? []))) {
    const { driver, options } = await objects.volume(name);
    checkVolumeDriver(driver, Object.fromEntries(Object.entries(options).map(([key]) => [key, 'set'])), objects.access);
  }
  const written = sources.flatMap(({ volume, readOnly }) => (volume === undefined || readOnly ? [] : [volume]));
  for (const name of new Set(written))
    await objects.requireNoPowerfulReader(name, `mount it read-only, as ${name}:PATH:ro`);
  for (const { VolumeOptions } of host.Mounts ?? []) await objects.requireOwnProject(VolumeOptions?.Labels ?? {});
  return {
    ...wanted,
    Labels: await objects.labelled(wanted.Labels ?? {}),
    HostConfig: {
      ...host,
      NetworkMode: await networkMode(wanted, objects),
      ...(host.PidMode === undefined
        ? {}
        : { PidMode: await sharedMode(objects, 'PidMode', host.PidMode, ['', 'host']) }),
      ...(host.IpcMode === undefined
        ? {}
        : {
            IpcMode: await sharedMode(objects, 'IpcMode', host.IpcMode, ['', 'none', 'private', 'shareable', 'host']),
          }),
      ...(host.VolumesFrom === undefined ? {} : { VolumesFrom: await volumesFrom(host.VolumesFrom, objects) }),
    },
    ...(wanted.NetworkingConfig === undefined
      ? {}
      : {
          NetworkingConfig: {
            EndpointsConfig: await endpoints(wanted.NetworkingConfig.EndpointsConfig ?? {}, objects),
          },
        }),
  };
}

async function networkMode(wanted: ContainerSpec, objects: ScopedObjects): Promise<string> {
  const mode = wanted.HostConfig?.NetworkMode ?? '';
  if (mode === 'none' || mode === 'host') return mode;
  if (mode.startsWith('container:')) return await sharedMode(objects, 'NetworkMode', mode, []);
  if (mode === '' || mode === 'default' || mode === 'bridge') {
    if (wanted.NetworkDisabled === true) return 'none';
    if (objects.access.allowHostNamespaces) return mode;
    throw new NotAllowed(
      `the default network is shared with all containers on the host: use a network of ${objects.scope.text}, or "none"`,
    );
  }
  return (await objects.network(mode)).id;
}

/** Accepts one of the words, or `container:X` if X is in the scope and has its own namespace. */
async function sharedMode(
  objects: ScopedObjects,
  field: 'NetworkMode' | 'PidMode' | 'IpcMode',
  mode: string,
  words: readonly string[],
): Promise<string> {
  if (words.includes(mode)) return mode;
  const other = /^container:(.+)$/.exec(mode)?.[1];
  if (other === undefined || !isName(other)) throw new NotAllowed(`${field} ${mode.slice(0, 60)} is not allowed`);
  const container = await objects.container(other);
  await objects.requireUnprivileged(container);
  const further = container.shares[field];
  if (further !== undefined && !objects.access.allowHostNamespaces) {
    throw needs('allowHostNamespaces', `${field} of container ${container.name}, which itself uses ${further}`);
  }
  return `container:${container.id}`;
}

async function volumesFrom(wanted: readonly string[], objects: ScopedObjects): Promise<string[]> {
  if (wanted.length > MAX_CONTAINERS_NAMED)
    throw new InvalidInput(`VolumesFrom may name at most ${MAX_CONTAINERS_NAMED} containers`);
  const passing: string[] = [];
  for (const source of wanted) {
    const [name = '', mode, ...rest] = source.split(':');
    if (!isName(name) || rest.length > 0 || (mode !== undefined && mode !== 'ro' && mode !== 'rw')) {
      throw new InvalidInput(`"${source.slice(0, 100)}" is not valid in VolumesFrom`);
    }
    const container = await objects.container(name);
    await objects.requireUnprivileged(container);
    if (mode !== 'ro') {
      for (const volume of container.volumes.filter(({ writable }) => writable)) {
        await objects.requireNoPowerfulReader(volume.name, `write ${name}:ro`);
      }
    }
    passing.push(mode === undefined ? container.id : `${container.id}:${mode}`);
  }
  return passing;
}

async function endpoints(
  wanted: Readonly<Record<string, Endpoint | null>>,
  objects: ScopedObjects,
): Promise<Record<string, Endpoint>> {
  const passing: Record<string, Endpoint> = {};
  for (const [name, settings] of Object.entries(wanted)) {
    // These names do not refer to a network of the scope.
    if (name === 'none' || (name === 'host' && objects.access.allowHostNamespaces)) {
      passing[name] = settings ?? {};
      continue;
    }
    if ((name === 'default' || name === 'bridge') && objects.access.allowHostNamespaces) {
      passing[name] = settings ?? {};
      continue;
    }
    const network = await objects.network(name);
    const { id } = network;
    checkEndpoint(settings ?? {}, network, objects.access);
    if (Object.hasOwn(passing, id)) throw new InvalidInput(`network ${name} occurs twice`);
    passing[id] = settings ?? {};
  }
  return passing;
}
