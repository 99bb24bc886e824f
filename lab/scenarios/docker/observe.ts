// Observes the Compose project in the same form as a patient on Kubernetes.

import * as z from 'zod';
import {
  count,
  health,
  ledgerReport,
  members,
  type Observation,
  type PeerFault,
  peerFaults,
  probed,
  type Seen,
  see,
  stores,
} from '../../patient/observation.ts';
import type { ComposeProject } from './compose.ts';

/** The prefix of the names of the project's parts in the checks. */
export const NAME = 'compose';
const WANTED = { [`${NAME}-pd`]: 3, [`${NAME}-tikv`]: 3, [`${NAME}-load`]: 1, [`${NAME}-prometheus`]: 1 };

async function get<T extends z.ZodType>(url: string, schema: T, ms = 10_000): Promise<z.infer<T>> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(ms) });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return schema.parse(await answer.json());
}

export async function observeProject(project: ComposeProject): Promise<Observation> {
  const pd = (at: string) => project.url('pd', `/pd/api/v1${at}`);
  const peer = async (fault: PeerFault): Promise<[PeerFault, Seen<number>]> => [
    fault,
    await see(async () => (await get(pd(`/regions/check/${fault}-peer`), count)).count),
  ];
  const running = await see(() => project.running());
  const sets = Object.entries(WANTED).map(([name, replicas]) => {
    const services =
      'error' in running
        ? []
        : [...running.value].filter(([service]) => service.startsWith(name.slice(NAME.length + 1)));
    return { name, replicas, readyReplicas: services.filter(([, runs]) => runs).length };
  });
  const [seenHealth, seenMembers, seenStores, schedulers, probe, ledger, ...peers] = await Promise.all([
    see(() => get(pd('/health'), health)),
    see(() => get(pd('/members'), members)),
    see(() => get(pd('/stores'), stores)),
    see(() => get(pd('/schedulers'), z.array(z.string()))),
    see(() => get(project.url('load', '/probe'), probed, 15_000)),
    see(() => get(project.url('load', '/verify'), ledgerReport, 60_000)),
    ...peerFaults.map(peer),
  ]);
  const unseen: Seen<number> = { error: 'not observed' };
  return {
    at: Date.now(),
    health: seenHealth,
    members: seenMembers,
    stores: seenStores,
    peers: { miss: unseen, down: unseen, pending: unseen, ...Object.fromEntries(peers) },
    schedulers,
    statefulSets: 'error' in running ? running : { value: sets },
    wanted: { value: WANTED },
    restarts: { value: 0 },
    probe,
    ledger,
  };
}
