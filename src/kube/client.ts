// A thin client with the few calls that oplab makes to the API server, over node:https.

import * as z from 'zod';
import { findServer, type KubeServer, type ServerOptions, type TokenSource } from './credentials.ts';
import { isGone, isNotFound } from './errors.ts';
import { type KubeObject, kubeObject, type NewKubeObject } from './object.ts';
import { type Resource, restPath } from './resources.ts';
import { createTransport } from './transport.ts';
import { type WatchEvent, watchEvents } from './watch.ts';

export type { KubeServer } from './credentials.ts';
export type { KubeObject, NewKubeObject } from './object.ts';
export type { WatchEvent } from './watch.ts';

/** Identifies one object. Cluster-scoped kinds have no namespace. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface ListOptions {
  /** If not set, all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  readonly signal: AbortSignal;
  /** Seconds until the server ends the watch. Default: 2 to 3 minutes. */
  readonly timeoutSeconds?: number | undefined;
}

export interface ApplyOptions {
  readonly fieldManager: string;
  /** Takes over fields that another manager owns. */
  readonly force?: boolean;
  readonly subresource?: 'status';
}

export interface CreateOptions {
  /** The server validates the object, including admission, and does not store it. */
  readonly dryRun?: boolean;
  /** The server rejects unknown fields. By default it drops them. */
  readonly strict?: boolean;
  readonly fieldManager?: string;
}

export interface DeleteOptions {
  /** Deletes only the object with this UID, not a later object with the same name. */
  readonly uid?: string | undefined;
  /** Deletes the object only if nobody has changed it since. */
  readonly resourceVersion?: string | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
}

/** All calls throw KubeError. The predicates in errors.ts distinguish the causes. */
export interface KubeClient {
  get(resource: Resource, ref: ObjectRef): Promise<KubeObject>;
  /** Lists all pages. */
  list(resource: Resource, options?: ListOptions): Promise<{ items: KubeObject[]; resourceVersion: string }>;
  create(resource: Resource, object: NewKubeObject, options?: CreateOptions): Promise<KubeObject>;
  createSubresource(resource: Resource, ref: ObjectRef, subresource: string, body: object): Promise<KubeObject>;
  /** Server-side apply. A `metadata.resourceVersion` in the object is a precondition. */
  apply(resource: Resource, object: NewKubeObject, options: ApplyOptions): Promise<KubeObject>;
  patch(
    resource: Resource,
    ref: ObjectRef,
    patch: object,
    options?: { subresource?: string; type?: 'merge' | 'json'; fieldManager?: string },
  ): Promise<KubeObject>;
  /** An object that does not exist counts as deleted. @returns whether it still existed */
  delete(resource: Resource, ref: ObjectRef, options?: DeleteOptions): Promise<boolean>;
  watch(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent>;
  /** GET of any path, such as `/version` or discovery. @returns the parsed JSON */
  read(path: string): Promise<unknown>;
  /** The same server with another identity. */
  withToken(token: TokenSource): KubeClient;
  readonly server: KubeServer;
  /** The namespace of the kubeconfig's context, or of the pod; undefined if neither is set. */
  readonly namespace: string | undefined;
}

const listPage = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string().default(''), continue: z.string().optional() }).optional(),
  items: z.array(kubeObject).nullable(),
});
const PAGE_SIZE = 500;

/** @throws InvalidInput if no API server is configured */
export function createKubeClient(options: ServerOptions = {}): KubeClient {
  const server = findServer(options);
  const transport = createTransport(server);

  const parsed = (resource: Resource, body: string): KubeObject =>
    addKind(resource, kubeObject.parse(JSON.parse(body)));

  async function listOnce(resource: Resource, list: ListOptions) {
    const items: KubeObject[] = [];
    let token: string | undefined;
    let resourceVersion = '';
    do {
      const query = selectors(list);
      query.set('limit', String(PAGE_SIZE));
      if (token !== undefined) query.set('continue', token);
      const path = `${restPath(resource, list.namespace)}?${query}`;
      const page = listPage.parse(JSON.parse(await transport.exchange({ method: 'GET', path, signal: list.signal })));
      for (const item of page.items ?? []) items.push(addKind(resource, item));
      resourceVersion = page.metadata?.resourceVersion ?? '';
      token = page.metadata?.continue || undefined;
    } while (token !== undefined);
    return { items, resourceVersion };
  }

  return {
    server,
    namespace: server.namespace,
    async get(resource, ref) {
      const path = restPath(resource, ref.namespace, ref.name);
      return parsed(resource, await transport.exchange({ method: 'GET', path }));
    },
    async list(resource, list = {}) {
      try {
        return await listOnce(resource, list);
      } catch (error) {
        // A continue token is valid for five minutes at most. A slow reader starts again once.
        if (!isGone(error)) throw error;
        return await listOnce(resource, list);
      }
    },
    async create(resource, object, how = {}) {
      const query = new URLSearchParams({
        ...(how.dryRun === true ? { dryRun: 'All' } : {}),
        ...(how.strict === true ? { fieldValidation: 'Strict' } : {}),
        ...(how.fieldManager === undefined ? {} : { fieldManager: how.fieldManager }),
      });
      const path = `${restPath(resource, object.metadata?.namespace)}${query.size === 0 ? '' : `?${query}`}`;
      return parsed(resource, await transport.exchange({ method: 'POST', path, body: complete(resource, object) }));
    },
    async createSubresource(resource, ref, subresource, body) {
      const path = restPath(resource, ref.namespace, ref.name, subresource);
      return kubeObject.parse(JSON.parse(await transport.exchange({ method: 'POST', path, body })));
    },
    async apply(resource, object, apply) {
      const query = new URLSearchParams({ fieldManager: apply.fieldManager, force: String(apply.force ?? false) });
      const path = restPath(resource, object.metadata?.namespace, object.metadata?.name ?? '', apply.subresource);
      const body = await transport.exchange({
        method: 'PATCH',
        path: `${path}?${query}`,
        body: complete(resource, object),
        contentType: 'application/apply-patch+yaml',
      });
      return parsed(resource, body);
    },
    async patch(resource, ref, patch, how = {}) {
      const body = await transport.exchange({
        method: 'PATCH',
        path: `${restPath(resource, ref.namespace, ref.name, how.subresource)}${
          how.fieldManager === undefined ? '' : `?${new URLSearchParams({ fieldManager: how.fieldManager })}`
        }`,
        body: patch,
        contentType: how.type === 'json' ? 'application/json-patch+json' : 'application/merge-patch+json',
      });
      return parsed(resource, body);
    },
    async delete(resource, ref, how = {}) {
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...(how.uid === undefined && how.resourceVersion === undefined
          ? {}
          : { preconditions: { uid: how.uid, resourceVersion: how.resourceVersion } }),
        ...(how.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: how.gracePeriodSeconds }),
        ...(how.propagationPolicy === undefined ? {} : { propagationPolicy: how.propagationPolicy }),
      };
      try {
        await transport.exchange({ method: 'DELETE', path: restPath(resource, ref.namespace, ref.name), body });
        return true;
      } catch (error) {
        if (!isNotFound(error)) throw error;
        return false;
      }
    },
    async *watch(resource, watch) {
      const query = selectors(watch);
      query.set('resourceVersion', watch.resourceVersion);
      const path = restPath(resource, watch.namespace);
      const { signal, timeoutSeconds } = watch;
      for await (const event of watchEvents(transport, { path, query, signal, timeoutSeconds })) {
        yield event.type === 'bookmark' ? event : { type: event.type, object: addKind(resource, event.object) };
      }
    },
    async read(path) {
      return JSON.parse(await transport.exchange({ method: 'GET', path }));
    },
    withToken: (token) => createKubeClient({ ...options, token }),
  };
}

function selectors(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set('labelSelector', options.labelSelector);
  if (options.fieldSelector !== undefined) query.set('fieldSelector', options.fieldSelector);
  return query;
}

const formatApiVersion = (resource: Resource) =>
  resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;

/** Adds kind and apiVersion, which the items of a list lack. */
function addKind(resource: Resource, object: KubeObject): KubeObject {
  return { ...object, apiVersion: object.apiVersion ?? formatApiVersion(resource), kind: object.kind ?? resource.kind };
}

function complete(resource: Resource, object: NewKubeObject): object {
  return { ...object, apiVersion: object.apiVersion ?? formatApiVersion(resource), kind: object.kind ?? resource.kind };
}
