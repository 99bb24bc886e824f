// Finds the resource of a kind through the discovery of the API server, and caches it for minutes.

import * as z from 'zod';
import type { KubeClient } from '../kube/client.ts';
import type { Resource } from '../kube/resources.ts';

const resourceList = z.object({
  resources: z.array(z.object({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});

const REMEMBER_MS = 5 * 60_000;

export class Discovery {
  readonly #known = new Map<string, { until: number; resources: z.infer<typeof resourceList>['resources'] }>();

  /** The resource of a kind; undefined if the server has none. @throws KubeError */
  async find(kube: Pick<KubeClient, 'read'>, apiVersion: string, kind: string): Promise<Resource | undefined> {
    if (!/^[a-z0-9.-]+(\/[a-z0-9]+)?$/.test(apiVersion)) return undefined;
    const slash = apiVersion.indexOf('/');
    const group = slash === -1 ? '' : apiVersion.slice(0, slash);
    const version = apiVersion.slice(slash + 1);
    let entry = this.#known.get(apiVersion);
    if (entry === undefined || entry.until < Date.now()) {
      const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
      entry = { until: Date.now() + REMEMBER_MS, resources: resourceList.parse(await kube.read(path)).resources };
      this.#known.set(apiVersion, entry);
    }
    // The list also contains subresources, such as "pods/log".
    const found = entry.resources.find((candidate) => candidate.kind === kind && !candidate.name.includes('/'));
    if (found === undefined) return undefined;
    return { group, version, plural: found.name, kind, namespaced: found.namespaced };
  }
}
