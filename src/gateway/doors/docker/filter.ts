// Decides whether a request to the Docker API is allowed, and builds the request to forward.
// Nothing outside the scope can be seen or changed, and no created object gives access to the host.
// It requests the facts that it needs and forwards nothing itself.

import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { CONTAINER_RULES } from './container-rules.ts';
import { checkVolumeDriver, containerSpec, needs, updateSpec } from './container-spec.ts';
import { scopedContainer } from './create-container.ts';
import { type ContainerFacts, type DockerFacts, type NetworkFacts, parseRepository } from './facts.ts';
import { parseGo } from './go-object.ts';
import { checkHostConfig } from './host-config-check.ts';
import { checkEndpoint, checkNetwork } from './network-rules.ts';
import { connectSpec, disconnectSpec, execSpec, execStart, networkSpec, volumeSpec } from './object-specs.ts';
import { requirePlainPs } from './ps-args.ts';
import { type DockerRequest, isImageReference, isName, isSet, writePath } from './route.ts';
import { owns, parseScope, rewrittenFilters, scopedFilters } from './scope.ts';
import { ScopedObjects } from './scoped-objects.ts';
import { describeStop, onlyEnds, parseSignal } from './signals.ts';
import { listTar } from './tar-list.ts';

/** How the answer to a read is reduced. */
export type Reduction = 'containers' | 'networks' | 'volumes' | 'images' | 'info';

/** An allowed request, as it is forwarded. */
export interface Passing {
  readonly request: DockerRequest;
  readonly path: string;
  readonly body: Buffer | undefined;
  readonly contentType: string | undefined;
  /** A body that is no text, as text for the audit log. */
  readonly shown: string | undefined;
  readonly reduction: Reduction | undefined;
  /** Description for the audit log, in the form of a docker command. */
  readonly text: string;
  /** The object, as named by the host. */
  readonly target: { readonly id?: string; readonly name?: string };
}

export interface FilterContext {
  readonly access: DockerAccess;
  /** Diagnose: only requests that change nothing are allowed. */
  readonly mode: 'Repair' | 'Diagnose';
  readonly facts: DockerFacts;
}

/**
 * Decides on a request.
 * @param body as received; parsed here if the route has one
 * @throws NotAllowed, InvalidInput, NotFound (also for objects outside the scope), and errors of
 * the facts
 */
export async function filterRequest(request: DockerRequest, body: Buffer, context: FilterContext): Promise<Passing> {
  if (request.route.kind === 'write' && context.mode === 'Diagnose') {
    throw new NotAllowed('the AgentClass has mode Diagnose, which allows no changes');
  }
  if (request.route.body === undefined && !/^(\{\}|null)?$/.test(body.toString('latin1').trim())) {
    throw new InvalidInput(`the operation ${request.route.operation} must not have a body`);
  }
  return await new Decision(request, body, context).make();
}

class Decision {
  readonly #request: DockerRequest;
  readonly #body: Buffer;
  readonly #objects: ScopedObjects;

  constructor(request: DockerRequest, body: Buffer, { access, facts }: FilterContext) {
    this.#request = request;
    this.#body = body;
    this.#objects = new ScopedObjects(parseScope(access), access, facts);
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
        return this.#pass({ text: 'images', reduction: 'images', query: this.#rewritten() });
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
        return await this.#onContainer(await this.#objects.container(name));
      case 'exec':
        return await this.#onExec(name);
      case 'network':
        return await this.#onNetwork(await this.#objects.network(name));
      case 'volume': {
        await this.#objects.volume(name);
        return this.#pass({ name, target: { name }, text: `volume ${route.operation.split('.')[1]} ${name}` });
      }
      case 'image': {
        await this.#objects.image(name);
        return this.#pass({ name, target: { name }, text: `image ${route.operation.split('.')[1]} ${name}` });
      }
      default:
        throw new NotAllowed(`the operation ${route.operation} is not supported`);
    }
  }

  // Containers

  async #onContainer(container: ContainerFacts): Promise<Passing> {
    const { route, query } = this.#request;
    const { operation } = route;
    const verb = operation.replace('container.', '');
    await this.#requireRule(container);
    const pass = (text: string, more: { body?: unknown; shown?: string } = {}) =>
      this.#pass({ name: container.id, target: { id: container.id, name: container.name }, text, ...more });
    switch (operation) {
      case 'container.top': {
        const args = query.get('ps_args') ?? '';
        requirePlainPs(args);
        return pass(`top ${container.name}${args === '' ? '' : ` ${args}`}`);
      }
      case 'container.attach':
        return pass(`attach ${container.name}`);
      case 'container.copy-in':
        return pass(`cp … ${container.name}:${(query.get('path') ?? '').slice(0, 1000)}`, {
          body: this.#body,
          shown: listTar(this.#body),
        });
      case 'container.copy-out':
      case 'container.stat':
        return pass(`cp ${container.name}:${(query.get('path') ?? '').slice(0, 1000)} …`);
      case 'container.rename': {
        const to = query.get('name') ?? '';
        await this.#requireFreeName(to);
        return pass(`rename ${container.name} ${to}`);
      }
      case 'container.kill':
      case 'container.stop':
      case 'container.restart':
        return pass(`${verb} ${describeStop(query)}${container.name}`);
      case 'container.remove': {
        const options = [isSet(query, 'force') ? '--force ' : '', isSet(query, 'v') ? '--volumes ' : ''].join('');
        return pass(`rm ${options}${container.name}`);
      }
      case 'container.update': {
        const wanted = parseGo(this.#body, updateSpec);
        checkHostConfig(wanted, this.#objects.access);
        return pass(`update ${container.name}`, { body: wanted });
      }
      case 'exec.create': {
        const wanted = parseGo(this.#body, execSpec);
        if (wanted.Privileged === true && !this.#objects.access.allowPrivileged)
          throw needs('allowPrivileged', 'a privileged exec');
        return pass(`exec ${container.name}: ${[wanted.Cmd ?? []].flat().join(' ').slice(0, 2000)}`, { body: wanted });
      }
      default:
        return pass(`${verb} ${container.name}`);
    }
  }

  /** Whether the operation may be done to a container with its access to the host. */
  async #requireRule(container: ContainerFacts): Promise<void> {
    const { query, route } = this.#request;
    const { operation } = route;
    const signal = parseSignal(query);
    const listed = new Map(Object.entries(CONTAINER_RULES)).get(operation)?.rule ?? 'contents';
    // With a signal of the caller's choice, a stop is a kill.
    const rule = signal !== undefined && listed === 'any' ? CONTAINER_RULES['container.kill'].rule : listed;
    if (rule === 'contents') await this.#objects.requireUnprivileged(container);
    if (rule === 'starts') await this.#objects.requireNoWritableVolume(container);
    if (signal !== undefined && !onlyEnds(signal)) await this.#objects.requireUnprivileged(container);
    if (operation !== 'container.remove') return;
    await this.#objects.requireNothingToInherit(container);
    // Otherwise nobody would know that the agent could write to the volume.
    for (const { name } of container.volumes.filter(({ writable }) => writable)) {
      await this.#objects.requireNoPowerfulReader(name, 'stop the container instead', container.id);
    }
  }

  /** Refuses a name that commands on the host would read as an ID. @throws InvalidInput */
  async #requireFreeName(name: string): Promise<void> {
    if (!isName(name)) throw new InvalidInput(`"${name.slice(0, 100)}" is not a valid container name`);
    const existing = await this.#objects.facts.container(name);
    // The daemon itself refuses a name that is taken.
    if (/^[0-9a-f]{12,64}$/.test(name) || (existing !== undefined && existing.name !== name))
      throw new InvalidInput(`container name ${name} can be read as the ID of a container: use another name`);
  }

  async #onExec(id: string): Promise<Passing> {
    const exec = await this.#objects.facts.exec(id);
    if (exec === undefined || exec.id !== id) throw this.#objects.none('exec instance', id);
    const container = await this.#objects.facts.container(exec.containerID);
    if (container === undefined || !owns(this.#objects.scope, container.labels))
      throw this.#objects.none('exec instance', id);
    await this.#requireRule(container);
    const target = { id, name: container.name };
    const command = exec.command.join(' ').slice(0, 2000);
    if (this.#request.route.operation !== 'exec.start')
      return this.#pass({ name: id, target, text: `exec ${container.name}` });
    // Another client may have created it with more privileges than the class allows.
    if (exec.privileged && !this.#objects.access.allowPrivileged) throw needs('allowPrivileged', 'a privileged exec');
    const body = parseGo(this.#body.length === 0 ? Buffer.from('{}') : this.#body, execStart);
    return this.#pass({ name: id, target, text: `exec ${container.name}, start: ${command}`, body });
  }

  async #createContainer(): Promise<Passing> {
    const wanted = parseGo(this.#body, containerSpec);
    const name = this.#request.query.get('name');
    if (name !== undefined) await this.#requireFreeName(name);
    return this.#pass({
      text: `create ${name ?? '(unnamed)'} of ${wanted.Image}`,
      target: name === undefined ? {} : { name },
      body: await scopedContainer(wanted, this.#objects),
    });
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
      const container = await this.#objects.container(nameIn(Container));
      // It would resolve names of the network, also those of the agent's containers.
      await this.#objects.requireUnprivileged(container);
      checkEndpoint(EndpointConfig ?? {}, network, this.#objects.access);
      return pass(`network connect ${network.name} ${container.name}`, {
        Container: container.id,
        ...(EndpointConfig === undefined ? {} : { EndpointConfig }),
      });
    }
    if (operation === 'network.disconnect') {
      const { Container, Force } = parseGo(this.#body, disconnectSpec);
      const container = await this.#objects.container(nameIn(Container));
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
    // A name of hexadecimal digits would be read as an ID, which clients shorten to 12.
    if (!isName(Name) || /^[0-9a-f]{12,64}$/.test(Name))
      throw new InvalidInput(`"${Name.slice(0, 100)}" is not a valid network name: use one that is not an ID`);
    if (await this.#objects.facts.network(Name)) throw new InvalidInput(`a network with name ${Name} already exists`);
    checkNetwork(wanted, this.#objects.access);
    return this.#pass({
      text: `network create ${Name}`,
      target: { name: Name },
      body: { ...wanted, CheckDuplicate: true, Labels: await this.#objects.labelled(wanted.Labels ?? {}) },
    });
  }

  async #createVolume(): Promise<Passing> {
    const wanted = parseGo(this.#body, volumeSpec);
    const name = wanted.Name ?? '';
    if (name !== '' && !isName(name)) throw new InvalidInput(`"${name.slice(0, 100)}" is not a valid volume name`);
    checkVolumeDriver(wanted.Driver, wanted.DriverOpts, this.#objects.access);
    const existing = name === '' ? undefined : await this.#objects.facts.volume(name);
    // The daemon would return an existing volume, even if it is outside the scope.
    if (existing !== undefined && !owns(this.#objects.scope, existing.labels))
      throw new InvalidInput(`a volume with name ${name} already exists`);
    return this.#pass({
      text: `volume create ${name === '' ? '(unnamed)' : name}`,
      target: name === '' ? {} : { name },
      body: { ...wanted, Labels: await this.#objects.labelled(wanted.Labels ?? {}) },
    });
  }

  // Images

  /**
   * Allows only repositories that the scope's containers use. Any other could be used to send data
   * out.
   */
  async #pull(): Promise<Passing> {
    const { query } = this.#request;
    const image = query.get('fromImage') ?? '';
    const tag = query.get('tag') ?? '';
    if (!isImageReference(image)) throw new InvalidInput('fromImage must name an image');
    if (tag !== '' && !/^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/.test(tag))
      throw new InvalidInput(`"${tag.slice(0, 100)}" is not a valid tag`);
    const { repositories } = await this.#objects.facts.images();
    if (!repositories.has(parseRepository(image))) {
      throw new NotAllowed(
        `only repositories that ${this.#objects.scope.text} uses can be pulled from: ${[...repositories].join(', ') || 'none'}`,
      );
    }
    const name = `${image}${tag === '' ? '' : tag.includes(':') ? `@${tag}` : `:${tag}`}`;
    const isWhole = tag === '' && !/[:@]/.test(image.slice(image.lastIndexOf('/') + 1));
    return this.#pass({ text: `pull ${isWhole ? '--all-tags ' : ''}${name}`, target: { name } });
  }

  // Shared

  #filtered(): ReadonlyMap<string, string> {
    const { query } = this.#request;
    return new Map([...query, ['filters', scopedFilters(this.#objects.scope, query.get('filters'))]]);
  }

  #rewritten(): ReadonlyMap<string, string> {
    const { query } = this.#request;
    const filters = query.get('filters') ?? '';
    return filters === '' ? query : new Map([...query, ['filters', rewrittenFilters(filters)]]);
  }

  #pass(parts: {
    text: string;
    name?: string;
    target?: Passing['target'];
    query?: ReadonlyMap<string, string>;
    body?: unknown;
    shown?: string;
    reduction?: Reduction;
  }): Passing {
    const { text, name, target = {}, query = this.#request.query, body, shown, reduction } = parts;
    const tar = Buffer.isBuffer(body);
    return {
      request: this.#request,
      path: writePath(this.#request, name, query),
      body: body === undefined ? undefined : tar ? body : Buffer.from(JSON.stringify(body)),
      contentType: body === undefined ? undefined : tar ? 'application/x-tar' : 'application/json',
      shown,
      reduction,
      text,
      target,
    };
  }
}

function nameIn(ref: string): string {
  const name = ref.replace(/^\//, '');
  if (!isName(name)) throw new InvalidInput(`"${ref.slice(0, 100)}" is not a valid container name`);
  return name;
}
