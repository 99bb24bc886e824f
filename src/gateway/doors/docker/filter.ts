// Whether a request to the Docker API may pass, and what it looks like when it does: nothing outside the scope is seen or
// changed, nothing that is created leads out of a container. Decides on facts that it asks for; forwards nothing itself.

import { z } from 'zod';
import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput, NotAllowed, NotFound } from '../../../errors.ts';
import {
  type ContainerSpec,
  checkBind,
  checkHostConfig,
  checkImageName,
  checkMount,
  checkResources,
  checkVolumeDriver,
  containerSpec,
  endpoint,
  needs,
  updateSpec,
} from './container-spec.ts';
import { type ContainerFacts, type DockerFacts, type ImageFacts, type NetworkFacts, repositoryOf } from './facts.ts';
import { goObject, parseGo } from './go-object.ts';
import { type DockerRequest, isImageReference, isName, writePath } from './route.ts';
import { owns, type Scope, scopedFilters, scopeOf, withScope } from './scope.ts';

/** What the answer to a read is cut down to. */
export type Reduction = 'containers' | 'networks' | 'volumes' | 'images' | 'info';

/** A request that may pass, as it is forwarded. */
export interface Passing {
  readonly request: DockerRequest;
  readonly path: string;
  readonly body: Buffer | undefined;
  readonly contentType: string | undefined;
  readonly reduction: Reduction | undefined;
  /** For the record: what is done, in the words of the docker command. */
  readonly text: string;
  /** The object, as the host names it. */
  readonly target: { readonly id?: string; readonly name?: string };
}

export interface FilterContext {
  readonly access: DockerAccess;
  /** Diagnose: only what changes nothing passes. */
  readonly mode: 'Repair' | 'Diagnose';
  readonly facts: DockerFacts;
}

const MAX_CONTAINERS_NAMED = 32;

/**
 * Decides.
 * @param body as received; parsed here where the route has one
 * @throws NotAllowed, NotFound (also for what is not in the scope), InvalidInput, and what asking for facts throws
 */
export async function filterRequest(request: DockerRequest, body: Buffer, context: FilterContext): Promise<Passing> {
  if (request.route.kind === 'write' && context.mode === 'Diagnose') {
    throw new NotAllowed('the AgentClass is of mode Diagnose: nothing may be changed');
  }
  if (request.route.body === undefined && !/^(\{\}|null)?$/.test(body.toString('latin1').trim())) {
    throw new InvalidInput(`${request.route.operation} takes no body`);
  }
  return await new Decision(request, body, context).make();
}

class Decision {
  readonly #request: DockerRequest;
  readonly #body: Buffer;
  readonly #access: DockerAccess;
  readonly #facts: DockerFacts;
  readonly #scope: Scope;

  constructor(request: DockerRequest, body: Buffer, { access, facts }: FilterContext) {
    this.#request = request;
    this.#body = body;
    this.#access = access;
    this.#facts = facts;
    this.#scope = scopeOf(access);
  }

  async make(): Promise<Passing> {
    const { operation } = this.#request.route;
    switch (operation) {
      case 'ping':
      case 'version':
        return this.#pass({ text: operation });
      case 'info':
        return this.#pass({ text: operation, reduction: 'info' });
      case 'events':
        return this.#pass({ text: operation, query: this.#filtered() });
      case 'container.list':
        return this.#pass({ text: 'ps', query: this.#filtered(), reduction: 'containers' });
      case 'network.list':
        return this.#pass({ text: 'network ls', query: this.#filtered(), reduction: 'networks' });
      case 'volume.list':
        return this.#pass({ text: 'volume ls', query: this.#filtered(), reduction: 'volumes' });
      case 'image.list':
        return this.#pass({ text: 'images', reduction: 'images' });
      case 'container.create':
        return await this.#createContainer();
      case 'network.create':
        return await this.#createNetwork();
      case 'volume.create':
        return await this.#createVolume();
      case 'image.pull':
        return await this.#pull();
      default:
        return await this.#onObject();
    }
  }

  async #onObject(): Promise<Passing> {
    const { ref, route } = this.#request;
    const name = ref?.name ?? '';
    switch (ref?.kind) {
      case 'container':
        return await this.#onContainer(await this.#container(name));
      case 'exec':
        return await this.#onExec(name);
      case 'network':
        return await this.#onNetwork(await this.#network(name));
      case 'volume': {
        const volume = await this.#facts.volume(name);
        // The daemon may find another by a shorter word; nothing but the name itself is meant here.
        if (volume === undefined || volume.name !== name || !owns(this.#scope, volume.labels))
          throw this.#none('volume', name);
        return this.#pass({ name, target: { name }, text: `volume ${route.operation.split('.')[1]} ${name}` });
      }
      case 'image': {
        await this.#image(name);
        return this.#pass({ name, target: { name }, text: `image ${route.operation.split('.')[1]} ${name}` });
      }
      default:
        throw new NotAllowed(`${route.operation} is not known here`);
    }
  }

  // Containers

  async #onContainer(container: ContainerFacts): Promise<Passing> {
    const { route, query } = this.#request;
    const { operation } = route;
    const verb = operation.replace('container.', '');
    const pass = (text: string, more: { body?: unknown } = {}) =>
      this.#pass({ name: container.id, target: { id: container.id, name: container.name }, text, ...more });
    switch (operation) {
      case 'container.top': {
        const args = query.get('ps_args') ?? '';
        // ps runs on the host.
        if (!/^[A-Za-z0-9 ,=_-]{0,100}$/.test(args))
          throw new InvalidInput('ps_args may hold letters, digits and "-,=_" only');
        return pass(`top ${container.name}`);
      }
      case 'container.attach':
        this.#requireTame(container);
        return pass(`attach ${container.name}`);
      case 'container.copy-in':
        this.#requireTame(container);
        return pass(`cp … ${container.name}:${(query.get('path') ?? '').slice(0, 1000)}`, { body: this.#body });
      case 'container.copy-out':
      case 'container.stat':
        return pass(`cp ${container.name}:${(query.get('path') ?? '').slice(0, 1000)} …`);
      case 'container.rename': {
        const to = query.get('name') ?? '';
        if (!isName(to)) throw new InvalidInput(`"${to.slice(0, 100)}" cannot be the name of a container`);
        return pass(`rename ${container.name} ${to}`);
      }
      case 'container.kill':
        return pass(
          `kill ${query.has('signal') ? `--signal ${query.get('signal')?.slice(0, 20)} ` : ''}${container.name}`,
        );
      case 'container.remove':
        return pass(`rm ${query.get('force') ? '--force ' : ''}${container.name}`);
      case 'container.update': {
        const wanted = parseGo(this.#body, updateSpec);
        checkResources(wanted, this.#access);
        return pass(`update ${container.name}`, { body: wanted });
      }
      case 'exec.create': {
        const wanted = parseGo(this.#body, execSpec);
        this.#requireTame(container);
        if (wanted.Privileged === true && !this.#access.allowPrivileged)
          throw needs('allowPrivileged', 'exec Privileged');
        return pass(`exec ${container.name}: ${[wanted.Cmd ?? []].flat().join(' ').slice(0, 2000)}`, { body: wanted });
      }
      default:
        return pass(`${verb} ${container.name}`);
    }
  }

  async #onExec(id: string): Promise<Passing> {
    const exec = await this.#facts.exec(id);
    if (exec === undefined || exec.id !== id) throw this.#none('exec instance', id);
    const container = await this.#facts.container(exec.containerID);
    if (container === undefined || !owns(this.#scope, container.labels)) throw this.#none('exec instance', id);
    const target = { id, name: container.name };
    const command = exec.command.join(' ').slice(0, 2000);
    if (this.#request.route.operation !== 'exec.start')
      return this.#pass({ name: id, target, text: `exec ${container.name}` });
    // Somebody else may have made it, with more than the class allows.
    this.#requireTame(container);
    if (exec.privileged && !this.#access.allowPrivileged) throw needs('allowPrivileged', 'exec Privileged');
    const body = parseGo(this.#body.length === 0 ? Buffer.from('{}') : this.#body, execStart);
    return this.#pass({ name: id, target, text: `exec ${container.name}, start: ${command}`, body });
  }

  async #createContainer(): Promise<Passing> {
    const wanted = parseGo(this.#body, containerSpec);
    const { query } = this.#request;
    const name = query.get('name');
    if (name !== undefined && !isName(name))
      throw new InvalidInput(`"${name.slice(0, 100)}" cannot be the name of a container`);
    const host = wanted.HostConfig ?? {};
    checkHostConfig(host, this.#access);
    checkImageName(wanted.Image);
    await this.#image(wanted.Image);
    const sources = [
      ...(host.Binds ?? []).map((bind) => checkBind(bind, this.#access)),
      ...(host.Mounts ?? []).map((mount) => checkMount(mount, this.#access)),
    ];
    await this.#ownVolumes(sources.flatMap(({ volume }) => volume ?? []));
    const body: ContainerSpec = {
      ...wanted,
      Labels: withScope(this.#scope, wanted.Labels ?? {}),
      HostConfig: {
        ...host,
        NetworkMode: await this.#networkMode(wanted),
        ...(host.PidMode === undefined ? {} : { PidMode: await this.#shared('PidMode', host.PidMode, ['', 'host']) }),
        ...(host.IpcMode === undefined
          ? {}
          : { IpcMode: await this.#shared('IpcMode', host.IpcMode, ['', 'none', 'private', 'shareable', 'host']) }),
        ...(host.VolumesFrom === undefined ? {} : { VolumesFrom: await this.#volumesFrom(host.VolumesFrom) }),
      },
      ...(wanted.NetworkingConfig === undefined
        ? {}
        : {
            NetworkingConfig: { EndpointsConfig: await this.#endpoints(wanted.NetworkingConfig.EndpointsConfig ?? {}) },
          }),
    };
    return this.#pass({
      text: `create ${name ?? '(unnamed)'} of ${wanted.Image}`,
      target: name === undefined ? {} : { name },
      body,
    });
  }

  /** A container's inside that is as good as the host is closed like the host itself. */
  #requireTame(container: ContainerFacts): void {
    const power = container.powers.find(({ flag }) => !this.#access[flag]);
    if (power !== undefined) {
      throw needs(power.flag, `container ${container.name}: ${power.why}, so no command may run in it`);
    }
  }

  async #networkMode(wanted: ContainerSpec): Promise<string> {
    const mode = wanted.HostConfig?.NetworkMode ?? '';
    if (mode === 'none' || mode === 'host') return mode;
    if (mode.startsWith('container:')) return await this.#shared('NetworkMode', mode, []);
    if (mode === '' || mode === 'default' || mode === 'bridge') {
      if (wanted.NetworkDisabled === true) return 'none';
      if (this.#access.allowHostNamespaces) return mode;
      throw new NotAllowed(
        `the default network is shared with everything on the host: name a network of ${this.#scope.text}, or none`,
      );
    }
    return (await this.#network(mode)).id;
  }

  /** `container:X` with X in the scope and in namespaces of its own, or one of the words. */
  async #shared(field: 'NetworkMode' | 'PidMode' | 'IpcMode', mode: string, words: readonly string[]): Promise<string> {
    if (words.includes(mode)) return mode;
    const other = /^container:(.+)$/.exec(mode)?.[1];
    if (other === undefined || !isName(other)) throw new NotAllowed(`${field} ${mode.slice(0, 60)} does not pass here`);
    const container = await this.#container(other);
    this.#requireTame(container);
    const further = container.shares[field];
    if (further !== undefined && !this.#access.allowHostNamespaces) {
      throw needs('allowHostNamespaces', `${field} of ${container.name}, which is ${further} itself`);
    }
    return `container:${container.id}`;
  }

  async #volumesFrom(wanted: readonly string[]): Promise<string[]> {
    if (wanted.length > MAX_CONTAINERS_NAMED) throw new InvalidInput('VolumesFrom names too many containers');
    const passing: string[] = [];
    for (const source of wanted) {
      const [name = '', mode, ...rest] = source.split(':');
      if (!isName(name) || rest.length > 0 || (mode !== undefined && mode !== 'ro' && mode !== 'rw')) {
        throw new InvalidInput(`VolumesFrom "${source.slice(0, 100)}" cannot be read`);
      }
      const container = await this.#container(name);
      this.#requireTame(container);
      passing.push(mode === undefined ? container.id : `${container.id}:${mode}`);
    }
    return passing;
  }

  async #ownVolumes(names: readonly string[]): Promise<void> {
    for (const name of new Set(names)) {
      const volume = await this.#facts.volume(name);
      // The daemon would make one that belongs to nobody.
      if (volume === undefined || volume.name !== name || !owns(this.#scope, volume.labels)) {
        throw new NotFound(`No such volume in ${this.#scope.text}: ${name}; create it first`);
      }
    }
  }

  async #endpoints(
    wanted: Readonly<Record<string, z.infer<typeof endpoint> | null>>,
  ): Promise<Record<string, z.infer<typeof endpoint>>> {
    const passing: Record<string, z.infer<typeof endpoint>> = {};
    for (const [name, settings] of Object.entries(wanted)) {
      // Under these names stand settings of no network that could be meant.
      if (name === 'none' || (name === 'host' && this.#access.allowHostNamespaces)) {
        passing[name] = settings ?? {};
        continue;
      }
      if ((name === 'default' || name === 'bridge') && this.#access.allowHostNamespaces) {
        passing[name] = settings ?? {};
        continue;
      }
      const { id } = await this.#network(name);
      if (Object.hasOwn(passing, id)) throw new InvalidInput(`the network ${name} stands twice`);
      passing[id] = settings ?? {};
    }
    return passing;
  }

  // Networks and volumes

  async #onNetwork(network: NetworkFacts): Promise<Passing> {
    const { operation } = this.#request.route;
    const pass = (text: string, body?: unknown) =>
      this.#pass({
        name: network.id,
        target: { id: network.id, name: network.name },
        text,
        ...(body === undefined ? {} : { body }),
      });
    if (operation === 'network.connect') {
      const { Container, EndpointConfig } = parseGo(this.#body, connectSpec);
      const container = await this.#container(nameIn(Container));
      return pass(`network connect ${network.name} ${container.name}`, {
        Container: container.id,
        ...(EndpointConfig === undefined ? {} : { EndpointConfig }),
      });
    }
    if (operation === 'network.disconnect') {
      const { Container, Force } = parseGo(this.#body, disconnectSpec);
      const container = await this.#container(nameIn(Container));
      return pass(`network disconnect ${network.name} ${container.name}`, {
        Container: container.id,
        Force: Force === true,
      });
    }
    return pass(`network ${operation === 'network.remove' ? 'rm' : 'inspect'} ${network.name}`);
  }

  async #createNetwork(): Promise<Passing> {
    const wanted = parseGo(this.#body, networkSpec);
    const { Name } = wanted;
    // A name of 64 hexadecimal digits would be taken for an id.
    if (!isName(Name) || /^[0-9a-f]{64}$/.test(Name))
      throw new InvalidInput(`"${Name.slice(0, 100)}" cannot be the name of a network`);
    if (await this.#facts.network(Name)) throw new InvalidInput(`network with name ${Name} already exists`);
    if (!['', 'default', 'bridge'].includes(wanted.Driver ?? '') && !this.#access.allowHostNamespaces) {
      throw needs('allowHostNamespaces', `network driver ${(wanted.Driver ?? '').slice(0, 40)}`);
    }
    const option = Object.keys(wanted.Options ?? {}).find((key) => !NETWORK_OPTIONS.has(key));
    if (option !== undefined && !this.#access.allowHostNamespaces)
      throw needs('allowHostNamespaces', `network option ${option.slice(0, 80)}`);
    if (wanted.Scope !== undefined && !['', 'local'].includes(wanted.Scope))
      throw new NotAllowed('only networks of scope local pass here');
    return this.#pass({
      text: `network create ${Name}`,
      target: { name: Name },
      body: { ...wanted, CheckDuplicate: true, Labels: withScope(this.#scope, wanted.Labels ?? {}) },
    });
  }

  async #createVolume(): Promise<Passing> {
    const wanted = parseGo(this.#body, volumeSpec);
    const name = wanted.Name ?? '';
    if (name !== '' && !isName(name)) throw new InvalidInput(`"${name.slice(0, 100)}" cannot be the name of a volume`);
    checkVolumeDriver(wanted.Driver, wanted.DriverOpts, this.#access);
    const existing = name === '' ? undefined : await this.#facts.volume(name);
    // The daemon answers with the volume that is there, whoever it belongs to.
    if (existing !== undefined && !owns(this.#scope, existing.labels))
      throw new InvalidInput(`a volume with name ${name} already exists`);
    return this.#pass({
      text: `volume create ${name === '' ? '(unnamed)' : name}`,
      target: name === '' ? {} : { name },
      body: { ...wanted, Labels: withScope(this.#scope, wanted.Labels ?? {}) },
    });
  }

  // Images

  /** Only a repository that the scope's containers are made of: anywhere else would be a way out for the host. */
  async #pull(): Promise<Passing> {
    const { query } = this.#request;
    const image = query.get('fromImage') ?? '';
    const tag = query.get('tag') ?? '';
    if (!isImageReference(image)) throw new InvalidInput('fromImage must name an image');
    if (tag !== '' && !/^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/.test(tag)) throw new InvalidInput('that cannot be a tag');
    const { repositories } = await this.#facts.images();
    if (!repositories.has(repositoryOf(image))) {
      throw new NotAllowed(
        `only images that ${this.#scope.text} is made of can be pulled: ${[...repositories].join(', ') || 'none'}`,
      );
    }
    const name = `${image}${tag === '' ? '' : tag.includes(':') ? `@${tag}` : `:${tag}`}`;
    return this.#pass({ text: `pull ${name}`, target: { name } });
  }

  async #image(name: string): Promise<ImageFacts> {
    const image = await this.#facts.image(name);
    if (image === undefined || !ownsImage(this.#scope, image, await this.#facts.images()))
      throw this.#none('image', name);
    return image;
  }

  // What all share

  async #container(name: string): Promise<ContainerFacts> {
    const container = await this.#facts.container(name);
    if (container === undefined || !owns(this.#scope, container.labels)) throw this.#none('container', name);
    return container;
  }

  async #network(name: string): Promise<NetworkFacts> {
    if (!isName(name)) throw new InvalidInput(`"${name.slice(0, 100)}" cannot be the name of a network`);
    const network = await this.#facts.network(name);
    if (network === undefined || !owns(this.#scope, network.labels)) throw this.#none('network', name);
    return network;
  }

  /** The same words whether there is none or it is somebody else's. */
  #none(what: string, name: string): NotFound {
    return new NotFound(`No such ${what} in ${this.#scope.text}: ${name.slice(0, 200)}`);
  }

  #filtered(): ReadonlyMap<string, string> {
    const { query } = this.#request;
    return new Map([...query, ['filters', scopedFilters(this.#scope, query.get('filters'))]]);
  }

  #pass(parts: {
    text: string;
    name?: string;
    target?: Passing['target'];
    query?: ReadonlyMap<string, string>;
    body?: unknown;
    reduction?: Reduction;
  }): Passing {
    const { text, name, target = {}, query = this.#request.query, body, reduction } = parts;
    const tar = Buffer.isBuffer(body);
    return {
      request: this.#request,
      path: writePath(this.#request, name, query),
      body: body === undefined ? undefined : tar ? body : Buffer.from(JSON.stringify(body)),
      contentType: body === undefined ? undefined : tar ? 'application/x-tar' : 'application/json',
      reduction,
      text,
      target,
    };
  }
}

/** An image is the scope's if it is labelled so, or if the scope's containers are made of it or of its repository. */
export function ownsImage(
  scope: Scope,
  image: Pick<ImageFacts, 'id' | 'references' | 'labels'>,
  of: { readonly ids: ReadonlySet<string>; readonly repositories: ReadonlySet<string> },
): boolean {
  if (owns(scope, image.labels) || of.ids.has(image.id)) return true;
  return image.references.some((reference) => of.repositories.has(repositoryOf(reference)));
}

function nameIn(ref: string): string {
  const name = ref.replace(/^\//, '');
  if (!isName(name)) throw new InvalidInput(`"${ref.slice(0, 100)}" cannot be the name of a container`);
  return name;
}

const strings = z.array(z.string());
const stringMap = z.record(z.string(), z.string());

const execSpec = goObject({
  AttachStdin: z.boolean().optional(),
  AttachStdout: z.boolean().optional(),
  AttachStderr: z.boolean().optional(),
  DetachKeys: z.string().optional(),
  Detach: z.boolean().optional(),
  Tty: z.boolean().optional(),
  ConsoleSize: z.array(z.number().int()).optional(),
  Env: strings.optional(),
  Cmd: z.union([z.string(), strings]).optional(),
  User: z.string().optional(),
  WorkingDir: z.string().optional(),
  Privileged: z.boolean().optional(),
});

const execStart = goObject({
  Detach: z.boolean().optional(),
  Tty: z.boolean().optional(),
  ConsoleSize: z.array(z.number().int()).optional(),
});

const connectSpec = goObject({ Container: z.string(), EndpointConfig: endpoint.optional() });
const disconnectSpec = goObject({ Container: z.string(), Force: z.boolean().optional() });

/** What a bridge may be told without reaching the host's other interfaces. */
const NETWORK_OPTIONS: ReadonlySet<string> = new Set([
  'com.docker.network.bridge.enable_icc',
  'com.docker.network.bridge.enable_ip_masquerade',
  'com.docker.network.driver.mtu',
]);

const networkSpec = goObject({
  Name: z.string(),
  CheckDuplicate: z.boolean().optional(),
  Driver: z.string().optional(),
  Scope: z.string().optional(),
  EnableIPv4: z.boolean().optional(),
  EnableIPv6: z.boolean().optional(),
  Internal: z.boolean().optional(),
  Attachable: z.boolean().optional(),
  IPAM: goObject({
    Driver: z.enum(['', 'default']).optional(),
    Config: z
      .array(
        goObject({
          Subnet: z.string().optional(),
          IPRange: z.string().optional(),
          Gateway: z.string().optional(),
          AuxiliaryAddresses: stringMap.optional(),
        }),
      )
      .optional(),
  }).optional(),
  Options: stringMap.optional(),
  Labels: stringMap.optional(),
});

const volumeSpec = goObject({
  Name: z.string().optional(),
  Driver: z.string().optional(),
  DriverOpts: stringMap.optional(),
  Labels: stringMap.optional(),
});
