// The ConfigMap with what was signed last about the audit log: reading and writing it.

import * as z from 'zod';
import type { SignedNotes } from '../audit/checkpoint.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { CONFIG_MAPS } from '../kube/resources.ts';
import { auditAnchor } from './protocol.ts';

/** The ConfigMap as read. */
export interface PublishedAnchor {
  readonly resourceVersion: string;
  readonly notes: SignedNotes | undefined;
  readonly publicKey: string | undefined;
  /** The state of the log that an administrator wants the gateway to continue from. */
  readonly accept: string | undefined;
}

const { keys } = auditAnchor;
const configMap = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  data: z.record(z.string(), z.string()).nullish(),
});

export class AnchorConfigMap {
  readonly #client: Pick<KubeClient, 'get' | 'patch'>;
  readonly #ref: { readonly name: string; readonly namespace: string };

  constructor(client: Pick<KubeClient, 'get' | 'patch'>, namespace: string, name: string = auditAnchor.name) {
    this.#client = client;
    this.#ref = { name, namespace };
  }

  /** For messages. */
  get name(): string {
    return `ConfigMap ${this.#ref.namespace}/${this.#ref.name}`;
  }

  get ref(): { readonly name: string; readonly namespace: string } {
    return this.#ref;
  }

  /** @returns undefined if it does not exist. @throws KubeError */
  async read(): Promise<PublishedAnchor | undefined> {
    try {
      return parsed(await this.#client.get(CONFIG_MAPS, this.#ref));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /**
   * Replaces what is published.
   * @param resourceVersion the version that was read last; a later one is a conflict
   * @returns the new version. @throws KubeError
   */
  async write(notes: SignedNotes, publicKey: string, resourceVersion: string): Promise<string> {
    const data = {
      [keys.checkpoint]: notes.checkpoint,
      [keys.heads]: notes.heads,
      [keys.publicKey]: `${publicKey}\n`,
      [keys.accept]: null,
    };
    const written = await this.#client.patch(CONFIG_MAPS, this.#ref, { metadata: { resourceVersion }, data });
    return parsed(written).resourceVersion;
  }
}

function parsed(object: unknown): PublishedAnchor {
  const { metadata, data } = configMap.parse(object);
  const { [keys.checkpoint]: checkpoint, [keys.heads]: heads } = data ?? {};
  return {
    resourceVersion: metadata.resourceVersion,
    notes:
      checkpoint === undefined && heads === undefined
        ? undefined
        : { checkpoint: checkpoint ?? '', heads: heads ?? '' },
    publicKey: data?.[keys.publicKey]?.trim(),
    accept: data?.[keys.accept]?.trim(),
  };
}
