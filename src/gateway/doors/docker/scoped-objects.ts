// A Docker host's objects as seen from one scope: objects outside the scope do not exist.

import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput, NotFound } from '../../../errors.ts';
import { needs } from './container-spec.ts';
import {
  type ContainerFacts,
  type DockerFacts,
  type ImageFacts,
  type NetworkFacts,
  type Power,
  parseRepository,
  type ScopeImages,
  type VolumeFacts,
} from './facts.ts';
import { isZeroValue } from './go-object.ts';
import { describeField } from './host-access.ts';
import { isName } from './route.ts';
import { owns, PROJECT_LABEL, type Scope, withScope } from './scope.ts';

export class ScopedObjects {
  readonly scope: Scope;
  readonly access: DockerAccess;
  readonly facts: DockerFacts;

  constructor(scope: Scope, access: DockerAccess, facts: DockerFacts) {
    this.scope = scope;
    this.access = access;
    this.facts = facts;
  }

  /** @throws NotFound */
  async container(name: string): Promise<ContainerFacts> {
    const container = await this.facts.container(name);
    if (container === undefined || !owns(this.scope, container.labels)) throw this.none('container', name);
    return container;
  }

  /** @throws NotFound */
  async network(name: string): Promise<NetworkFacts> {
    if (!isName(name)) throw new InvalidInput(`"${name.slice(0, 100)}" cannot be the name of a network`);
    const network = await this.facts.network(name);
    if (network === undefined || !owns(this.scope, network.labels)) throw this.none('network', name);
    return network;
  }

  /** @throws NotFound */
  async volume(name: string): Promise<VolumeFacts> {
    const volume = await this.facts.volume(name);
    // The daemon may find another volume by a prefix. Only the exact name counts.
    if (volume === undefined || volume.name !== name || !owns(this.scope, volume.labels))
      throw this.none('volume', name);
    return volume;
  }

  /** @throws NotFound */
  async image(name: string): Promise<ImageFacts> {
    const image = await this.facts.image(name);
    if (image === undefined || !ownsImage(this.scope, image, await this.facts.images())) throw this.none('image', name);
    return image;
  }

  /**
   * The name of an image if its repository is the scope's, and otherwise its ID: a repository whose
   * name a container shows counts as the scope's, so another owner's name for the same image would
   * open the other images of that owner. @throws NotFound
   */
  async imageReference(name: string): Promise<string> {
    const { id } = await this.image(name);
    return (await this.facts.images()).repositories.has(parseRepository(name)) ? name : id;
  }

  /**
   * Refuses a container with access to its host, unless the class allows that access. @throws
   * NotAllowed
   */
  async requireUnprivileged(container: ContainerFacts): Promise<void> {
    const power = (await this.#denied(container)) ?? (await this.#entering(container));
    if (power !== undefined) {
      throw needs(
        power.flag,
        `access to container ${container.name}, because ${power.why}`,
        'use a container without access to its host',
      );
    }
  }

  /**
   * Refuses writing to a volume that a container with access to its host reads. @throws NotAllowed
   */
  async requireNoPowerfulReader(volume: string, instead: string, except?: string): Promise<void> {
    for (const other of await this.facts.containersWith(volume)) {
      if (other.id === except) continue;
      const power = await this.#denied(other);
      if (power === undefined) continue;
      const name = owns(this.scope, other.labels)
        ? `container ${other.name}`
        : `a container outside ${this.scope.text}`;
      throw needs(power.flag, `this use of volume ${volume}, which ${name} mounts (${power.why})`, instead);
    }
  }

  /**
   * Refuses to run a container with access to its host on what the agent may have written into its
   * volumes. @throws NotAllowed
   */
  async requireNoWritableVolume(container: ContainerFacts): Promise<void> {
    const power = await this.#denied(container);
    if (power === undefined) return;
    for (const { name } of container.volumes) {
      for (const other of await this.facts.containersWith(name)) {
        const mounted = other.volumes.some((volume) => volume.name === name && volume.writable);
        if (!mounted || other.id === container.id || !owns(this.scope, other.labels)) continue;
        if ((await this.#denied(other)) !== undefined) continue;
        throw needs(
          power.flag,
          `starting container ${container.name}, because ${power.why}, and you can write to its volume ${name} through container ${other.name}`,
          'ask the owner of the host to do it',
        );
      }
    }
  }

  /**
   * Refuses to remove a container with access to its host and volumes of the scope: whoever creates
   * it again would run what the agent has written there in the meantime. @throws NotAllowed
   */
  async requireNothingToInherit(container: ContainerFacts): Promise<void> {
    const power = await this.#denied(container);
    if (power === undefined) return;
    for (const { name } of container.volumes) {
      const volume = await this.facts.volume(name);
      if (volume === undefined || !owns(this.scope, volume.labels)) continue;
      throw needs(
        power.flag,
        `removing container ${container.name}, because ${power.why}, and you could then write to its volume ${name} before it is created again`,
        'stop it instead',
      );
    }
  }

  /**
   * The labels of a new object. Refuses labels that claim a project outside the scope. @throws
   * InvalidInput
   */
  async labelled(wanted: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    await this.requireOwnProject(wanted);
    return withScope(this.scope, wanted);
  }

  /** @throws InvalidInput if labels claim a Compose project outside the scope */
  async requireOwnProject(wanted: Readonly<Record<string, string>>): Promise<void> {
    if (!Object.hasOwn(wanted, PROJECT_LABEL)) return;
    const project = wanted[PROJECT_LABEL] ?? '';
    if (owns(this.scope, wanted) && this.scope.key === PROJECT_LABEL) return;
    if (this.scope.key !== PROJECT_LABEL && (await this.facts.projects()).has(project)) return;
    throw new InvalidInput(
      `label ${PROJECT_LABEL} ${project.slice(0, 100)} claims a project outside ${this.scope.text}: leave it out`,
    );
  }

  /** The first access to the host that the class does not allow. */
  async #denied(container: ContainerFacts): Promise<Power | undefined> {
    const isDenied = ({ flag }: Power) => !this.access[flag];
    return container.powers.find(isDenied) ?? (await this.#outerPowers(container)).find(isDenied);
  }

  /**
   * The first access that the class does not allow of the containers in a container's namespaces.
   * The files of a process are in /proc/PID/root of all that see it.
   */
  async #entering(container: ContainerFacts): Promise<Power | undefined> {
    for (const other of await this.facts.entering(container)) {
      if (!owns(this.scope, other.labels)) {
        if (this.access.allowHostNamespaces) continue;
        return { flag: 'allowHostNamespaces', why: `a container outside ${this.scope.text} is in its namespaces` };
      }
      const power = await this.#denied(other);
      if (power !== undefined)
        return { ...power, why: `container ${other.name} is in its namespaces, and ${power.why}` };
    }
    return undefined;
  }

  /**
   * Access to the host through the volumes, networks and containers that a container uses.
   * @param seen the containers that led to this one
   */
  async #outerPowers(container: ContainerFacts, seen: readonly string[] = []): Promise<Power[]> {
    const powers: Power[] = [];
    for (const { name } of container.volumes) {
      const volume = await this.facts.volume(name);
      if (volume?.driver === 'local' && isZeroValue(volume.options)) continue;
      const options = volume === undefined ? 'unknown options' : describeField('options', volume.options);
      powers.push({
        flag: 'allowHostMounts',
        why: `it mounts volume ${name} of driver ${volume?.driver} with ${options}`,
      });
    }
    for (const name of container.networks) {
      if (name === 'none' || name === 'bridge') continue;
      const network = await this.facts.network(name);
      if (network !== undefined && (network.driver === 'bridge' || owns(this.scope, network.labels))) continue;
      powers.push({
        flag: 'allowHostNamespaces',
        why: `it is in network ${name} of driver ${network?.driver ?? 'unknown'}`,
      });
    }
    for (const [field, mode] of Object.entries(container.shares)) {
      const ref = /^container:(.+)$/.exec(mode ?? '')?.[1];
      if (ref === undefined) continue;
      const other = await this.facts.container(ref);
      const why = `it has HostConfig.${field} ${mode}`;
      if (other === undefined || !owns(this.scope, other.labels)) {
        powers.push({ flag: 'allowHostNamespaces', why: `${why}, which is outside ${this.scope.text}` });
        continue;
      }
      const path = [...seen, container.id];
      const outer = path.includes(other.id) ? [] : await this.#outerPowers(other, path);
      powers.push(...[...other.powers, ...outer].map((power) => ({ ...power, why: `${why}, and ${power.why}` })));
      const further = Object.values(other.shares).find((shared) => shared !== undefined);
      if (further !== undefined)
        powers.push({ flag: 'allowHostNamespaces', why: `${why}, which itself uses ${further}` });
    }
    return powers;
  }

  /** The same error whether the object does not exist or is outside the scope. */
  none(what: string, name: string): NotFound {
    return new NotFound(`No such ${what} in ${this.scope.text}: ${name.slice(0, 200)}`);
  }
}

/** Whether an image has the scope's label, or the scope's containers use it or its repository. */
export function ownsImage(
  scope: Scope,
  image: Pick<ImageFacts, 'id' | 'references' | 'labels'>,
  of: ScopeImages,
): boolean {
  if (owns(scope, image.labels) || of.ids.has(image.id)) return true;
  return image.references.some((reference) => of.repositories.has(parseRepository(reference)));
}
