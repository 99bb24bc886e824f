// A reflector: a local copy of the objects of one kind, kept up to date by list and watch.

import { errorMessage } from '../errors.ts';
import { backoffMs, pause } from '../net/retry.ts';
import type { KubeClient, KubeObject } from './client.ts';
import { isGone } from './errors.ts';
import { type Log, SILENT } from './log.ts';
import { objectKey } from './object.ts';
import type { Resource } from './resources.ts';

export interface ReflectorEvent<T> {
  readonly type: 'added' | 'modified' | 'deleted';
  /** "namespace/name", or the name of a cluster-scoped object. */
  readonly key: string;
  /** The object now; for `deleted`, its last known state. */
  readonly object: T;
  readonly previous?: T;
}

export interface ReflectorOptions<T> {
  readonly client: Pick<KubeClient, 'list' | 'watch'>;
  readonly resource: Resource;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /**
   * Throws for an object that does not fit its schema. It is then logged and left out of the copy.
   */
  readonly parse: (object: KubeObject) => T;
  /** Called for each change. It should only enqueue. */
  readonly onEvent?: (event: ReflectorEvent<T>) => void;
  readonly logger?: Log;
  /**
   * How often everything is listed again, in milliseconds (plus up to a fifth), whatever the watch
   * reports.
   */
  readonly relistMs?: number;
  /** For tests: seconds until the server ends a watch. */
  readonly watchTimeoutSeconds?: number;
  /** For tests. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

const RELIST_MS = 10 * 60_000;
const BACKOFF = { baseMs: 500, maxMs: 30_000 };

interface Copy<T> {
  readonly resourceVersion: string;
  readonly object: T;
}

export class Reflector<T> {
  readonly #options: ReflectorOptions<T>;
  readonly #copies = new Map<string, Copy<T>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #log: Log;
  #lastEventAt: number | undefined;
  #isSynced = false;
  #started = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#log = options.logger ?? SILENT;
    this.#synced.promise.catch(() => {});
  }

  /** Starts the reflector, which runs until the signal aborts. A second call does nothing. */
  start(signal: AbortSignal): void {
    if (this.#started) return;
    this.#started = true;
    void this.#run(signal);
  }

  /** Resolves after the first list. Rejects if the signal aborts before that. */
  synced(): Promise<void> {
    return this.#synced.promise;
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  get(key: string): T | undefined {
    return this.#copies.get(key)?.object;
  }

  list(): T[] {
    return [...this.#copies.values()].map((copy) => copy.object);
  }

  /**
   * When the server last sent something, in epoch milliseconds: a list, an event, a bookmark, or
   * the planned end of a watch.
   */
  get lastEventAt(): number | undefined {
    return this.#lastEventAt;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const backoff = this.#options.backoff ?? BACKOFF;
    let failures = 0;
    let resourceVersion: string | undefined;
    let relistAt = 0;
    while (!signal.aborted) {
      const startedAt = Date.now();
      let hasReceived = false;
      try {
        if (resourceVersion === undefined || startedAt >= relistAt) {
          resourceVersion = await this.#relist(signal);
          if (signal.aborted) break;
          relistAt = Date.now() + (this.#options.relistMs ?? RELIST_MS) * (1 + Math.random() / 5);
          hasReceived = true;
        }
        const { client, resource, namespace, labelSelector, fieldSelector, watchTimeoutSeconds } = this.#options;
        const timeoutSeconds = watchTimeoutSeconds;
        const events = client.watch(resource, {
          namespace,
          labelSelector,
          fieldSelector,
          resourceVersion,
          signal,
          timeoutSeconds,
        });
        for await (const event of events) {
          if (signal.aborted) break;
          hasReceived = true;
          this.#lastEventAt = Date.now();
          if (event.type === 'bookmark') {
            resourceVersion = event.resourceVersion || resourceVersion;
            continue;
          }
          resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
          if (event.type === 'deleted') this.#remove(objectKey(event.object));
          else this.#put(event.object);
        }
        this.#lastEventAt = Date.now();
        // A watch that ends at once without an event counts as a failure.
        failures = hasReceived || Date.now() - startedAt > 1000 ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) break;
        if (isGone(error)) {
          this.#log.info({ resource: this.#options.resource.plural }, 'watch expired: listing again');
          resourceVersion = undefined;
        } else {
          const { plural } = this.#options.resource;
          this.#log.warn({ resource: plural, error: errorMessage(error) }, 'list or watch failed: trying again');
        }
        failures = hasReceived && !isGone(error) ? 1 : failures + 1;
      }
      if (failures > 0) await pause(backoffMs(failures, backoff), signal);
    }
    if (!this.#isSynced) this.#synced.reject(new Error('stopped before the first list'));
  }

  async #relist(signal: AbortSignal): Promise<string> {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const listed = await client.list(resource, { namespace, labelSelector, fieldSelector, signal });
    if (signal.aborted) return listed.resourceVersion;
    this.#lastEventAt = Date.now();
    const present = new Set<string>();
    for (const object of listed.items) {
      present.add(objectKey(object));
      this.#put(object);
    }
    for (const key of [...this.#copies.keys()]) {
      if (!present.has(key)) this.#remove(key);
    }
    if (!this.#isSynced) {
      this.#isSynced = true;
      this.#synced.resolve();
    }
    return listed.resourceVersion;
  }

  #put(raw: KubeObject): void {
    const key = objectKey(raw);
    const known = this.#copies.get(key);
    const resourceVersion = raw.metadata.resourceVersion ?? '';
    if (known !== undefined && known.resourceVersion === resourceVersion) return;
    let object: T;
    try {
      object = this.#options.parse(raw);
    } catch (error) {
      // The copy must not keep an outdated state of an object that can no longer be parsed.
      const { plural } = this.#options.resource;
      this.#log.error(
        { resource: plural, key, error: errorMessage(error) },
        'object skipped: it does not fit its schema',
      );
      this.#remove(key);
      return;
    }
    this.#copies.set(key, { resourceVersion, object });
    this.#notify(
      known === undefined ? { type: 'added', key, object } : { type: 'modified', key, object, previous: known.object },
    );
  }

  #remove(key: string): void {
    const known = this.#copies.get(key);
    if (known === undefined) return;
    this.#copies.delete(key);
    this.#notify({ type: 'deleted', key, object: known.object });
  }

  #notify(event: ReflectorEvent<T>): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#log.error({ key: event.key, error: errorMessage(error) }, 'a handler of the reflector failed');
    }
  }
}
