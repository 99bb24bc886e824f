// The thin client: the few calls that oplab makes to the API server, over node:https.

import { z } from 'zod';
import { findServer, type KubeServer, type ServerOptions, type TokenSource } from './credentials.ts';
import { isGone, isNotFound } from './errors.ts';
import { type KubeObject, kubeObject, type NewKubeObject } from './object.ts';
import { pathOf, type Resource } from './resources.ts';
import { createTransport } from './transport.ts';
import { type WatchEvent, watchEvents } from './watch.ts';

export type { KubeServer } from './credentials.ts';
export type { KubeObject, NewKubeObject } from './object.ts';
export type { WatchEvent } from './watch.ts';

/** Names one object; the namespace is left out for cluster-scoped kinds. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface ListOptions {
  /** All namespaces when left out. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  readonly signal: AbortSignal;
  /** Seconds until the server ends the watch; default 2 to 3 minutes. */
  readonly timeoutSeconds?: number | undefined;
}

export interface ApplyOptions {
  readonly fieldManager: string;
  /** Take over fields that another manager owns. */
  readonly force?: boolean;
  readonly subresource?: 'status';
}

export interface CreateOptions {
  /** All is judged, admission included, and nothing is kept. */
  readonly dryRun?: boolean;
  /** Unknown fields are refused; else they are dropped. */
  readonly strict?: boolean;
  readonly fieldManager?: string;
}

export interface DeleteOptions {
  /** Delete only this very object, not a namesake that came after it. */
  readonly uid?: string | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
}

/** All calls throw KubeError (see errors.ts for the predicates). */
export interface KubeClient {
  get(resource: Resource, ref: ObjectRef): Promise<KubeObject>;
  /** All pages. */
  list(resource: Resource, options?: ListOptions): Promise<{ items: KubeObject[]; resourceVersion: string }>;
  create(resource: Resource, object: NewKubeObject, options?: CreateOptions): Promise<KubeObject>;
  createSubresource(resource: Resource, ref: ObjectRef, subresource: string, body: object): Promise<KubeObject>;
  /** Server-side apply; a `metadata.resourceVersion` in the object is a precondition. */
  apply(resource: Resource, object: NewKubeObject, options: ApplyOptions): Promise<KubeObject>;
  patch(
    resource: Resource,
    ref: ObjectRef,
    patch: object,
    options?: { subresource?: string; type?: 'merge' | 'json' },
  ): Promise<KubeObject>;
  /** An object that is gone already counts as deleted. @returns whether there still was one */
  delete(resource: Resource, ref: ObjectRef, options?: DeleteOptions): Promise<boolean>;
  watch(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent>;
  /** GET of any path, such as `/version` or discovery; the parsed JSON. */
  read(path: string): Promise<unknown>;
  /** The same server with another identity. */
  withToken(token: TokenSource): KubeClient;
  readonly server: KubeServer;
  /** The namespace of the kubeconfig's context, or the pod's own; undefined when none is said. */
  readonly namespace: string | undefined;
}

const listPage = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string().default(''), continue: z.string().optional() }).optional(),
  items: z.array(kubeObject).nullable(),
});
const PAGE_SIZE = 500;

/** @throws InvalidInput when no API server is configured */
export function createKubeClient(options: ServerOptions = {}): KubeClient {
  const server = findServer(options);
  const transport = createTransport(server);

  const parsed = (resource: Resource, body: string): KubeObject => named(resource, kubeObject.parse(JSON.parse(body)));

  async function listOnce(resource: Resource, list: ListOptions) {
    const items: KubeObject[] = [];
    let token: string | undefined;
    let resourceVersion = '';
    do {
      const query = selectors(list);
      query.set('limit', String(PAGE_SIZE));
      if (token !== undefined) query.set('continue', token);
      const path = `${pathOf(resource, list.namespace)}?${query}`;
      const page = listPage.parse(JSON.parse(await transport.exchange({ method: 'GET', path, signal: list.signal })));
      for (const item of page.items ?? []) items.push(named(resource, item));
      resourceVersion = page.metadata?.resourceVersion ?? '';
      token = page.metadata?.continue || undefined;
    } while (token !== undefined);
    return { items, resourceVersion };
  }

  return {
    server,
    namespace: server.namespace,
    async get(resource, ref) {
      const path = pathOf(resource, ref.namespace, ref.name);
      return parsed(resource, await transport.exchange({ method: 'GET', path }));
    },
    async list(resource, list = {}) {
      try {
        return await listOnce(resource, list);
      } catch (error) {
        // A continue token lives five minutes at most; a slow reader starts over once.
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
      const path = `${pathOf(resource, object.metadata?.namespace)}${query.size === 0 ? '' : `?${query}`}`;
      return parsed(resource, await transport.exchange({ method: 'POST', path, body: complete(resource, object) }));
    },
    async createSubresource(resource, ref, subresource, body) {
      const path = pathOf(resource, ref.namespace, ref.name, subresource);
      return kubeObject.parse(JSON.parse(await transport.exchange({ method: 'POST', path, body })));
    },
    async apply(resource, object, apply) {
      const query = new URLSearchParams({ fieldManager: apply.fieldManager, force: String(apply.force ?? false) });
      const path = pathOf(resource, object.metadata?.namespace, object.metadata?.name ?? '', apply.subresource);
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
        path: pathOf(resource, ref.namespace, ref.name, how.subresource),
        body: patch,
        contentType: how.type === 'json' ? 'application/json-patch+json' : 'application/merge-patch+json',
      });
      return parsed(resource, body);
    },
    async delete(resource, ref, how = {}) {
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...(how.uid === undefined ? {} : { preconditions: { uid: how.uid } }),
        ...(how.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: how.gracePeriodSeconds }),
        ...(how.propagationPolicy === undefined ? {} : { propagationPolicy: how.propagationPolicy }),
      };
      try {
        await transport.exchange({ method: 'DELETE', path: pathOf(resource, ref.namespace, ref.name), body });
        return true;
      } catch (error) {
        if (!isNotFound(error)) throw error;
        return false;
      }
    },
    async *watch(resource, watch) {
      const query = selectors(watch);
      query.set('resourceVersion', watch.resourceVersion);
      const path = pathOf(resource, watch.namespace);
      const { signal, timeoutSeconds } = watch;
      for await (const event of watchEvents(transport, { path, query, signal, timeoutSeconds })) {
        yield event.type === 'bookmark' ? event : { type: event.type, object: named(resource, event.object) };
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

const apiVersionOf = (resource: Resource) =>
  resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;

/** The items of a list come without kind and apiVersion. */
function named(resource: Resource, object: KubeObject): KubeObject {
  return { ...object, apiVersion: object.apiVersion ?? apiVersionOf(resource), kind: object.kind ?? resource.kind };
}

function complete(resource: Resource, object: NewKubeObject): object {
  return { ...object, apiVersion: object.apiVersion ?? apiVersionOf(resource), kind: object.kind ?? resource.kind };
}
