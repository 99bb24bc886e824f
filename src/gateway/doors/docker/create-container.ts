// What a container may be created as: nothing that leads out of it or out of the scope, and always with the scope's label.

import type { z } from 'zod';
import { InvalidInput, messageOf, NotAllowed, NotFound } from '../../../errors.ts';
import {
  type ContainerSpec,
  checkBind,
  checkHostConfig,
  checkImageName,
  checkMount,
  type endpoint,
  needs,
} from './container-spec.ts';
import { isName } from './route.ts';
import { withScope } from './scope.ts';
import type { ScopedObjects } from './scoped-objects.ts';

type Endpoint = z.infer<typeof endpoint>;

/** How many containers VolumesFrom may name. */
const MAX_CONTAINERS_NAMED = 32;

/**
 * The body as it is forwarded, with everything that it names written as an id.
 * @throws NotAllowed, InvalidInput; NotFound for the image alone, because clients take that for a reason to pull it
 */
export async function scopedContainer(wanted: ContainerSpec, objects: ScopedObjects): Promise<ContainerSpec> {
  checkHostConfig(wanted.HostConfig ?? {}, objects.access);
  checkImageName(wanted.Image);
  await objects.image(wanted.Image);
  try {
    return await withNeighbours(wanted, objects);
  } catch (error) {
    if (error instanceof NotFound) throw new InvalidInput(messageOf(error), error);
    throw error;
  }
}

async function withNeighbours(wanted: ContainerSpec, objects: ScopedObjects): Promise<ContainerSpec> {
  const host = wanted.HostConfig ?? {};
  const sources = [
    ...(host.Binds ?? []).map((bind) => checkBind(bind, objects.access)),
    ...(host.Mounts ?? []).map((mount) => checkMount(mount, objects.access)),
  ];
  // One that is not there would be made by the daemon, and belong to nobody.
  for (const name of new Set(sources.flatMap(({ volume }) => volume ?? []))) await objects.volume(name);
  return {
    ...wanted,
    Labels: withScope(objects.scope, wanted.Labels ?? {}),
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
      `the default network is shared with everything on the host: name a network of ${objects.scope.text}, or none`,
    );
  }
  return (await objects.network(mode)).id;
}

/** `container:X` with X in the scope and in namespaces of its own, or one of the words. */
async function sharedMode(
  objects: ScopedObjects,
  field: 'NetworkMode' | 'PidMode' | 'IpcMode',
  mode: string,
  words: readonly string[],
): Promise<string> {
  if (words.includes(mode)) return mode;
  const other = /^container:(.+)$/.exec(mode)?.[1];
  if (other === undefined || !isName(other)) throw new NotAllowed(`${field} ${mode.slice(0, 60)} does not pass here`);
  const container = await objects.container(other);
  objects.requireUnprivileged(container);
  const further = container.shares[field];
  if (further !== undefined && !objects.access.allowHostNamespaces) {
    throw needs('allowHostNamespaces', `${field} of ${container.name}, which is ${further} itself`);
  }
  return `container:${container.id}`;
}

async function volumesFrom(wanted: readonly string[], objects: ScopedObjects): Promise<string[]> {
  if (wanted.length > MAX_CONTAINERS_NAMED) throw new InvalidInput('VolumesFrom names too many containers');
  const passing: string[] = [];
  for (const source of wanted) {
    const [name = '', mode, ...rest] = source.split(':');
    if (!isName(name) || rest.length > 0 || (mode !== undefined && mode !== 'ro' && mode !== 'rw')) {
      throw new InvalidInput(`VolumesFrom "${source.slice(0, 100)}" cannot be read`);
    }
    const container = await objects.container(name);
    objects.requireUnprivileged(container);
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
    // Under these names stand settings of no network that could be meant.
    if (name === 'none' || (name === 'host' && objects.access.allowHostNamespaces)) {
      passing[name] = settings ?? {};
      continue;
    }
    if ((name === 'default' || name === 'bridge') && objects.access.allowHostNamespaces) {
      passing[name] = settings ?? {};
      continue;
    }
    const { id } = await objects.network(name);
    if (Object.hasOwn(passing, id)) throw new InvalidInput(`the network ${name} stands twice`);
    passing[id] = settings ?? {};
  }
  return passing;
}
