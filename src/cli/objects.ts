// Objects of any kind for `oplab undo`: read, and put back under preconditions.

import { isMap, type JsonMap } from '../audit/object-view.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient, NewKubeObject } from '../kube/client.ts';
import { isConflict, isForbidden, isNotFound } from '../kube/errors.ts';
import { INCIDENTS, type Resource } from '../kube/resources.ts';
import type { Target } from './changes/change.ts';
import type { Present, Step } from './changes/undo-plan.ts';

/** The writer's name in metadata.managedFields. */
const FIELD_MANAGER = 'oplab-undo';
/** Reviews of the caller's own identity. */
const SELF: Resource = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'selfsubjectreviews',
  kind: 'SelfSubjectReview',
  namespaced: false,
};

/** Access to the objects of a cluster with the person's own rights. */
export interface Objects {
  read(target: Target): Promise<Present>;
  /**
   * Takes a step on the object as it was read.
   * @throws KubeError: a conflict if somebody else was faster
   */
  take(target: Target, step: Step): Promise<void>;
  /** The person's name at the API server. */
  whoAmI(): Promise<string>;
  /** Sets an annotation of an Incident that nobody has changed since. @throws KubeError */
  annotateIncident(incident: JsonMap, annotation: string, value: string): Promise<JsonMap>;
}

/** The objects of a cluster. */
export function clusterObjects(client: Pick<KubeClient, 'get' | 'create' | 'patch' | 'delete'>): Objects {
  return {
    async read(target) {
      try {
        return { state: 'present', object: await client.get(resourceOf(target), target) };
      } catch (error) {
        if (isNotFound(error)) return { state: 'absent' };
        return { state: 'unreadable', why: isForbidden(error) ? 'forbidden' : errorMessage(error) };
      }
    },
    async take(target, step) {
      const resource = resourceOf(target);
      if (step.type === 'create') {
        const object: NewKubeObject = { ...step.object, metadata: { ...metadataOf(step.object), name: target.name } };
        await client.create(resource, object, { fieldManager: FIELD_MANAGER });
      } else if (step.type === 'delete') {
        await client.delete(resource, target, { uid: step.uid, resourceVersion: step.resourceVersion });
      } else {
        await client.patch(resource, target, step.patch, {
          type: 'json',
          fieldManager: FIELD_MANAGER,
          ...(step.part === 'status' ? { subresource: 'status' } : {}),
        });
      }
    },
    async whoAmI() {
      try {
        const { status } = await client.create(SELF, {});
        const name = isMap(status) && isMap(status.userInfo) ? status.userInfo.username : undefined;
        return typeof name === 'string' ? name : 'unknown';
      } catch {
        // An API server of before 1.28, or no right to ask.
        return 'unknown';
      }
    },
    async annotateIncident(incident, annotation, value) {
      const { name, namespace, uid, resourceVersion } = metadataOf(incident);
      return await client.patch(
        INCIDENTS,
        { name: String(name), namespace: String(namespace) },
        { metadata: { uid, resourceVersion, annotations: { [annotation]: value } } },
        { fieldManager: FIELD_MANAGER },
      );
    },
  };
}

/** Whether a step failed because somebody else was faster. */
export function isLostRace(error: unknown): boolean {
  return isConflict(error) || isNotFound(error);
}

function metadataOf({ metadata }: JsonMap): JsonMap {
  return isMap(metadata) ? metadata : {};
}

function resourceOf({ group, version, resource, namespace }: Target): Resource {
  return { group, version, plural: resource, kind: '', namespaced: namespace !== undefined };
}
