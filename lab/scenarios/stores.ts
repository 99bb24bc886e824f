// PD's view of the stores, as scenarios need it.
import * as z from 'zod';
import type { PatientSession } from '../patient/session.ts';

const answer = z.object({
  stores: z
    .array(
      z.object({
        store: z.object({ id: z.number(), address: z.string(), state_name: z.string() }),
        status: z.object({ leader_count: z.number().default(0), region_count: z.number().default(0) }),
      }),
    )
    .default([]),
});

/** One store as PD reports it. `pod` is the first label of its address. */
export interface StoreView {
  readonly id: number;
  readonly pod: string;
  readonly state: string;
  readonly leaders: number;
  readonly regions: number;
}

/** All stores except tombstones. */
export async function storeViews(session: PatientSession): Promise<StoreView[]> {
  const { stores } = await session.get(session.pd('/stores'), answer);
  return stores
    .map(({ store, status }) => ({
      id: store.id,
      pod: store.address.split(/[.:]/)[0] ?? '',
      state: store.state_name,
      leaders: status.leader_count,
      regions: status.region_count,
    }))
    .sort((a, b) => a.id - b.id);
}
