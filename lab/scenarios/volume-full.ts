// Scenario 5: the volume of a store is small, and a core dump was left on it.
//
// Volumes of a development cluster have no size limit, so the store's data first moves to a file
// system on a loop device, in the node and outside of Kubernetes.
import * as z from 'zod';
import { run } from '../../hack/child.ts';
import { nodeContainer } from '../../hack/cluster/names.ts';
import type { PatientSession } from '../patient/session.ts';
import { lastPod, readSet, sameIdentity, tikvSet } from './objects.ts';
import type { Before, InjectContext, Scenario } from './scenario.ts';
import { waitFor } from './waiting.ts';

const claim = z.object({ spec: z.object({ volumeName: z.string() }) });
const volume = z.object({
  spec: z.object({
    hostPath: z.object({ path: z.string() }).optional(),
    local: z.object({ path: z.string() }).optional(),
  }),
});
const leftOver = '/var/lib/tikv/core.4711';
const megabytes = 256;
const wantedFree = 0.2;

/** Runs a script in the cluster's node. */
async function inNode(script: string, signal: AbortSignal): Promise<void> {
  await run('docker', ['exec', nodeContainer, 'sh', '-ec', script], { signal });
}

async function findVolumePath(session: PatientSession, pod: string): Promise<string> {
  const core = `/api/v1/namespaces/${session.target.namespace}`;
  const { spec } = await session.get(`${core}/persistentvolumeclaims/data-${pod}`, claim);
  const found = await session.get(`/api/v1/persistentvolumes/${spec.volumeName}`, volume);
  return found.spec.hostPath?.path ?? found.spec.local?.path ?? '';
}

/** Works on the volume of a pod while the pod does not run. */
async function whileAway(context: InjectContext, work: (pod: string) => Promise<void>): Promise<void> {
  const { session, note } = context;
  const set = tikvSet(session);
  const pod = await lastPod(session);
  const { replicas } = await readSet(session, set);
  note(`stopping ${pod} to work on its volume`);
  await session.kubectl(['scale', 'statefulset', set, `--replicas=${replicas - 1}`]);
  await session.kubectl(['wait', '--for=delete', `pod/${pod}`, '--timeout=60s']);
  await work(pod);
  await session.kubectl(['scale', 'statefulset', set, `--replicas=${replicas}`]);
  await session.kubectl([
    'wait',
    `statefulset/${set}`,
    `--for=jsonpath={.status.readyReplicas}=${replicas}`,
    '--timeout=90s',
  ]);
}

const space = z.object({
  stores: z.array(
    z.object({
      store: z.object({ id: z.number() }),
      status: z.object({ capacity: z.string().default('0B'), available: z.string().default('0B') }),
    }),
  ),
});
const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40, P: 2 ** 50 };

/** PD writes sizes as "241.9MiB". */
export function bytes(size: string): number {
  const [, number = '0', unit = ''] = /^([\d.]+)([KMGTP]?)/.exec(size) ?? [];
  return Number(number) * (units[unit] ?? 1);
}

async function leastSpace(session: PatientSession): Promise<{ id: number; free: number }> {
  const { stores } = await session.get(session.pd('/stores'), space);
  const [least] = stores
    .map(({ store, status }) => ({ id: store.id, free: bytes(status.available) / bytes(status.capacity) }))
    .sort((a, b) => a.free - b.free);
  return least ?? { id: 0, free: Number.NaN };
}

export const volumeFull: Scenario = {
  name: 'volume-full',
  summary: 'A store is low on space',
  async stage(context) {
    const { session } = context;
    const { signal } = session.target;
    await whileAway(context, async (pod) => {
      const path = await findVolumePath(session, pod);
      const image = `${path}.img`;
      await inNode(
        `truncate -s ${megabytes}M ${image}; mkfs.ext4 -q -m 0 -F ${image}
         mkdir -p ${path}.new; mount -o loop ${image} ${path}.new; rm -rf ${path}.new/lost+found
         cp -a ${path}/. ${path}.new/; chmod 0777 ${path}.new
         umount ${path}.new; rmdir ${path}.new; mount -o loop ${image} ${path}`,
        signal,
      );
    });
  },
  async inject({ session, note }) {
    const { signal } = session.target;
    const pod = await lastPod(session);
    const fill = `size=$(df -Pk /var/lib/tikv | awk 'NR == 2 { print int($4 - $2 / 10) }'); head -c "$((size * 1024))" /dev/zero > ${leftOver}`;
    await session.kubectl(['exec', pod, '--', 'sh', '-ec', fill]);
    await waitFor({ what: 'PD to see that a store is low on space', withinSeconds: 60, signal, note }, async () => {
      const { free } = await leastSpace(session);
      return free < wantedFree ? free : undefined;
    });
  },
  async after(context: InjectContext, before: Before) {
    const { id, free } = await leastSpace(context.session);
    const observed = `store ${id} has the least space, ${(free * 100).toFixed(0)} % free`;
    return [
      { name: 'space available', passing: free > wantedFree, observed },
      ...(await sameIdentity(context, before)),
    ];
  },
  /** Moves the data back to where the node's other volumes are. */
  async restore(context) {
    const { session } = context;
    await whileAway(context, async (pod) => {
      const path = await findVolumePath(session, pod);
      await inNode(
        `mountpoint -q ${path} || exit 0
         mkdir -p ${path}.old; cp -a ${path}/. ${path}.old/; umount ${path}
         cp -a ${path}.old/. ${path}/; rm -rf ${path}.old ${path}.img`,
        session.target.signal,
      );
    });
  },
};
