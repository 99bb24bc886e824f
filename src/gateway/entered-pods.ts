// Lists the pods that an Incident's agent has run commands in, from the kube door's own records. What
// it started there may still run when its lease has ended.

import * as z from 'zod';
import { ENTRANCES, type EnteredPod, type EnteredPods } from '../api/incident-status.ts';
import type { Entry } from '../audit/entry.ts';

/** The number of pods in the status. */
const SHOWN = 32;

/** An ephemeral container is added by a write, the others are connections. */
const entrance = z.looseObject({
  resource: z.literal('pods'),
  group: z.literal(''),
  namespace: z.string().max(63),
  name: z.string().max(253),
  subresource: z.enum(ENTRANCES),
  dryRun: z.literal(false).default(false),
  verb: z.enum(['connect', 'create', 'update', 'patch']),
});

/** The pods of one session. A connection whose end is not recorded counts, because it may be open. */
export class EnteredPodList {
  /** By namespace and name, in the order in which they were entered last. */
  readonly #pods = new Map<string, EnteredPod>();
  readonly #open = new Map<number, EnteredPod>();

  /** Applies an intent. */
  add({ seq, params }: Pick<Entry, 'seq' | 'params'>): void {
    const { data } = entrance.safeParse(params);
    if (data === undefined) return;
    const { namespace, name, subresource } = data;
    this.#open.set(seq, { namespace, name, by: [subresource], seq });
  }

  /** Applies an outcome. One that was refused entered nothing. */
  settle(intentSeq: number, isRefused: boolean): void {
    const pod = this.#open.get(intentSeq);
    if (pod === undefined) return;
    this.#open.delete(intentSeq);
    if (!isRefused) merge(this.#pods, pod);
  }

  /** Undefined if there are none. */
  summary(): EnteredPods | undefined {
    const pods = new Map(this.#pods);
    for (const pod of this.#open.values()) merge(pods, pod);
    const all = [...pods.values()];
    return all.length === 0 ? undefined : { count: all.length, last: all.slice(-SHOWN) };
  }
}

function merge(pods: Map<string, EnteredPod>, pod: EnteredPod): void {
  const key = `${pod.namespace}/${pod.name}`;
  const known = pods.get(key);
  pods.delete(key);
  pods.set(key, {
    ...pod,
    by: ENTRANCES.filter((way) => pod.by.includes(way) || known?.by.includes(way)),
    seq: Math.max(pod.seq, known?.seq ?? 0),
  });
}
