// Observes a patient from outside at one moment; each part is a value or the reason it is missing.
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';
import type { PatientSession } from './session.ts';

/** A part of an observation: seen, or not and why. */
export type Seen<T> = { readonly value: T } | { readonly error: string };

/** PD: its members and whether they answer. */
export const health = z.array(z.object({ name: z.string(), health: z.boolean() }));
/** PD: its members and their leader. */
export const members = z.object({
  leader: z.object({ name: z.string() }).nullish(),
  members: z.array(z.object({ name: z.string() })),
});
const store = z.object({
  store: z.object({ id: z.number(), address: z.string(), state_name: z.string() }),
  status: z.object({
    leader_count: z.number().default(0),
    region_count: z.number().default(0),
    last_heartbeat_ts: z.string().optional(),
  }),
});
/** PD: the stores it knows. */
export const stores = z.object({ count: z.number(), stores: z.array(store).default([]) });
/** PD: how many regions a check names. */
export const count = z.object({ count: z.number() });
const statefulSet = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ replicas: z.number() }),
  status: z.object({ readyReplicas: z.number().default(0), replicas: z.number().default(0) }),
});
const pods = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      status: z.object({ containerStatuses: z.array(z.object({ restartCount: z.number() })).default([]) }),
    }),
  ),
});
/** The load: one transaction's result. */
export const probed = z.object({ ok: z.boolean(), milliseconds: z.number(), error: z.string().optional() });

/** The result of comparing the ledger with TiKV. */
export const ledgerReport = z.object({
  ledgerId: z.string(),
  acknowledged: z.number(),
  verified: z.number(),
  /** Keys whose acknowledged write is gone; -1 when the comparison itself was not possible. */
  ledgerLost: z.number(),
  indeterminate: z.number(),
  unreadable: z.number(),
  openWrites: z.number(),
  lostKeys: z.array(z.object({ key: z.string(), expectedVersion: z.number(), reason: z.string() })),
  acknowledgedTotal: z.number(),
  error: z.string().optional(),
});
export type LedgerReport = z.infer<typeof ledgerReport>;

/**
 * PD's kinds of faulty peers, without its count of offline peers: that one is updated when a region
 * changes, not when a store does, so it lags until somebody writes to the region. The stores show
 * it at once.
 */
export const peerFaults = ['miss', 'down', 'pending'] as const;
export type PeerFault = (typeof peerFaults)[number];

/** One observation of a patient. */
export interface Observation {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly health: Seen<z.infer<typeof health>>;
  readonly members: Seen<z.infer<typeof members>>;
  readonly stores: Seen<z.infer<typeof stores>>;
  readonly peers: Readonly<Record<PeerFault, Seen<number>>>;
  readonly schedulers: Seen<string[]>;
  readonly statefulSets: Seen<Array<{ name: string; replicas: number; readyReplicas: number }>>;
  /** What the release's manifest asks for, by StatefulSet. */
  readonly wanted: Seen<Readonly<Record<string, number>>>;
  readonly restarts: Seen<number>;
  readonly probe: Seen<z.infer<typeof probed>>;
  readonly ledger: Seen<LedgerReport>;
}

/** The value of `read`, or the reason of its failure. */
export async function see<T>(read: () => Promise<T>): Promise<Seen<T>> {
  try {
    return { value: await read() };
  } catch (error) {
    return { error: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) };
  }
}

/** The replicas of every StatefulSet in a rendered manifest. */
export function replicasInManifest(manifest: string): Record<string, number> {
  const wanted: Record<string, number> = {};
  const shape = z.object({
    kind: z.literal('StatefulSet'),
    metadata: z.object({ name: z.string() }),
    spec: z.object({ replicas: z.number() }),
  });
  for (const document of parseAllDocuments(manifest)) {
    const parsed = shape.safeParse(document.toJS());
    if (parsed.success) wanted[parsed.data.metadata.name] = parsed.data.spec.replicas;
  }
  return wanted;
}

/**
 * The replicas that the release asks for. They do not change; callers that observe often keep them.
 */
export function wantedReplicas(session: PatientSession): Promise<Seen<Record<string, number>>> {
  return see(async () => replicasInManifest((await session.helm(['get', 'manifest', session.target.release])).stdout));
}

/** Observes everything at the same time. */
export async function observe(session: PatientSession, wanted?: Seen<Record<string, number>>): Promise<Observation> {
  const { namespace, release } = session.target;
  // The ages of heartbeats count from here: reading the ledger back may take long, and the stores
  // are asked at once.
  const at = Date.now();
  const selector = `labelSelector=${encodeURIComponent(`app.kubernetes.io/instance=${release}`)}`;
  const peer = (fault: PeerFault) =>
    see(async () => (await session.get(session.pd(`/regions/check/${fault}-peer`), count)).count);
  const [seenHealth, seenMembers, seenStores, miss, down, pending, schedulers, sets, asked, restarts, probe, ledger] =
    await Promise.all([
      see(() => session.get(session.pd('/health'), health)),
      see(() => session.get(session.pd('/members'), members)),
      see(() => session.get(session.pd('/stores'), stores)),
      peer('miss'),
      peer('down'),
      peer('pending'),
      see(() => session.get(session.pd('/schedulers'), z.array(z.string()))),
      see(async () => {
        const list = await session.get(
          `/apis/apps/v1/namespaces/${namespace}/statefulsets?${selector}`,
          z.object({ items: z.array(statefulSet) }),
        );
        return list.items.map((item) => ({
          name: item.metadata.name,
          replicas: item.spec.replicas,
          readyReplicas: item.status.readyReplicas,
        }));
      }),
      wanted ?? wantedReplicas(session),
      see(async () => {
        const list = await session.get(`/api/v1/namespaces/${namespace}/pods?${selector}`, pods);
        return list.items
          .flatMap((pod) => pod.status.containerStatuses)
          .reduce((sum, container) => sum + container.restartCount, 0);
      }),
      see(() => session.get(session.service('load', '/probe'), probed, { timeoutMs: 15_000 })),
      see(() => session.get(session.service('load', '/verify'), ledgerReport, { timeoutMs: 60_000 })),
    ]);
  return {
    at,
    health: seenHealth,
    members: seenMembers,
    stores: seenStores,
    peers: { miss, down, pending },
    schedulers,
    statefulSets: sets,
    wanted: asked,
    restarts,
    probe,
    ledger,
  };
}
