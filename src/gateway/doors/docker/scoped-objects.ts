// A Docker host's objects as seen from one scope: objects outside the scope do not exist.

import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput, NotFound } from '../../../errors.ts';
import { needs } from './container-spec.ts';
import {
  type ContainerFacts,
  type DockerFacts,
  type ImageFacts,
  type NetworkFacts,
  parseRepository,
  type ScopeImages,
  type VolumeFacts,
} from './facts.ts';
import { isName } from './route.ts';
import { owns, type Scope } from './scope.ts';

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
   * Refuses a container with access to its host, unless the class allows that access. @throws
   * NotAllowed
   */
  requireUnprivileged(container: ContainerFacts): void {
    const power = container.powers.find(({ flag }) => !this.access[flag]);
    if (power !== undefined) {
      throw needs(power.flag, `access to container ${container.name}, because ${power.why}`);
    }
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
