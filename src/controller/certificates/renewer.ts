// Renews certificates: reads their Secrets from time to time, and writes those that are due.
//
// Each write alone leaves everybody able to connect, so a crash between two of them does no harm.

import * as z from 'zod';
import { errorMessage } from '../../errors.ts';
import type { KubeClient, ObjectRef } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { CONFIG_MAPS, type Resource, SECRETS } from '../../kube/resources.ts';
import { pause } from '../../net/retry.ts';
import type { Authority } from './authority.ts';
import {
  canSign,
  isDue,
  type KeyPair,
  LIFETIMES,
  type Lifetimes,
  renewAuthority,
  renewLeaf,
  withAuthority,
} from './renewal.ts';

/** What is renewed, and who hears of it. */
export interface RenewalOptions {
  readonly authorities: readonly Authority[];
  /** Called with the name of the Secret. */
  readonly onRenewed: (secret: string) => void;
  /** Called with the name of the CA. */
  readonly onFailed: (authority: string) => void;
  readonly lifetimes?: Lifetimes;
  /** Milliseconds between two looks. */
  readonly everyMs?: number;
}

interface RenewerDeps {
  readonly client: Pick<KubeClient, 'get' | 'patch'>;
  readonly log: Log;
  readonly now: () => Date;
}

const EVERY_MS = 3600_000;
/** After a failure. */
const RETRY_MS = 60_000;
const FIELD_MANAGER = 'oplab-certificates';

const base64 = z.string().transform((text) => Buffer.from(text, 'base64').toString('utf8'));
const keyPair = z.object({ data: z.object({ 'tls.crt': base64, 'tls.key': base64 }) });
const leafSecret = z.object({ data: z.object({ 'tls.crt': base64, 'ca.crt': base64.default('') }) });
const configMap = z.object({ data: z.object({ 'ca.crt': z.string().default('') }).default({ 'ca.crt': '' }) });

export class CertificateRenewer {
  readonly #options: RenewalOptions;
  readonly #deps: RenewerDeps;

  constructor(options: RenewalOptions, deps: RenewerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Renews what is due until the signal aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = EVERY_MS } = this.#options;
    while (!signal.aborted) {
      const hasSucceeded = await this.renewAll();
      await pause(hasSucceeded ? everyMs : Math.min(everyMs, RETRY_MS), signal);
    }
  }

  /** Renews what is due now. @returns false if something could not be renewed */
  async renewAll(): Promise<boolean> {
    let hasSucceeded = true;
    for (const authority of this.#options.authorities) {
      try {
        await this.#renew(authority);
      } catch (error) {
        hasSucceeded = false;
        this.#options.onFailed(authority.name);
        this.#deps.log.warn(
          { authority: authority.name, error: errorMessage(error) },
          'certificates could not be renewed; it will be tried again',
        );
      }
    }
    return hasSucceeded;
  }

  /** The CA first, then who trusts it, then what it signs. @throws Error that names the object */
  async #renew({ secret, bundles, leaves }: Authority): Promise<void> {
    const authority = await this.#change(SECRETS, secret, (object) => this.#authority(object, secret));
    for (const bundle of bundles) await this.#change(CONFIG_MAPS, bundle, (object) => this.#bundle(object, authority));
    for (const leaf of leaves) await this.#change(SECRETS, leaf, (object) => this.#leaf(object, authority, leaf));
  }

  /** Reads an object, and writes what is new of it. Fails if somebody else has written meanwhile. */
  async #change<T>(
    resource: Resource,
    ref: ObjectRef,
    decide: (object: unknown) => { readonly data?: Record<string, string>; readonly note?: string; readonly result: T },
  ): Promise<T> {
    const { client, log } = this.#deps;
    try {
      const object = await client.get(resource, ref);
      const { data, note, result } = decide(object);
      if (data === undefined) return result;
      const { resourceVersion } = object.metadata;
      await client.patch(resource, ref, { metadata: { resourceVersion }, data }, { fieldManager: FIELD_MANAGER });
      if (note !== undefined) this.#options.onRenewed(ref.name);
      log.info({ object: `${resource.kind} ${ref.namespace}/${ref.name}` }, note ?? 'the trusted CAs were updated');
      return result;
    } catch (error) {
      const message = error instanceof z.ZodError ? 'it has no certificate' : errorMessage(error);
      throw new Error(`${resource.kind} ${ref.namespace}/${ref.name}: ${message}`, { cause: error });
    }
  }

  #authority(object: unknown, { name }: ObjectRef) {
    const { data } = keyPair.parse(object);
    const old: KeyPair = { cert: data['tls.crt'], key: data['tls.key'] };
    if (!isDue(old.cert, this.#now)) return { result: old };
    const result = renewAuthority(old, this.#now, this.#lifetimes);
    return { data: encode({ 'tls.crt': result.cert }), note: `the CA in ${name} was renewed`, result };
  }

  #bundle(object: unknown, authority: KeyPair) {
    const known = configMap.parse(object).data['ca.crt'];
    const next = withAuthority(known, authority.cert, this.#now);
    return { result: undefined, ...(isSame(known, next) ? {} : { data: { 'ca.crt': next } }) };
  }

  #leaf(object: unknown, authority: KeyPair, { name }: ObjectRef) {
    const { data: old } = leafSecret.parse(object);
    const now = this.#now;
    const ca = withAuthority(old['ca.crt'], authority.cert, now);
    if (isDue(old['tls.crt'], now) && canSign(authority.cert, old['tls.crt'], now)) {
      const { cert, key } = renewLeaf(old['tls.crt'], authority, now, this.#lifetimes);
      const data = encode({ 'ca.crt': ca, 'tls.crt': cert, 'tls.key': key });
      return { result: undefined, data, note: `the certificate in ${name} was renewed` };
    }
    return { result: undefined, ...(isSame(old['ca.crt'], ca) ? {} : { data: encode({ 'ca.crt': ca }) }) };
  }

  get #now(): number {
    return this.#deps.now().getTime();
  }

  get #lifetimes(): Lifetimes {
    return this.#options.lifetimes ?? LIFETIMES;
  }
}

function encode(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')]));
}

/** Apart from blank lines. */
function isSame(one: string, other: string): boolean {
  return one.replaceAll(/\s+/g, '\n').trim() === other.replaceAll(/\s+/g, '\n').trim();
}
