// The baseline: what existed before must exist after, whatever the other checks report.

import { describe, expect, it } from 'vitest';
import { MAX_VOLUME_CLAIMS, MAX_WORKLOADS } from '../api/incident-status.ts';
import { KubeError } from '../kube/errors.ts';
import { kubeObject } from '../kube/object.ts';
import type { Resource } from '../kube/resources.ts';
import { baselineObservation, listMissing, observeBaseline, readBaseline } from './baseline.ts';

type Kinds = Readonly<
  Record<string, readonly { name: string; replicas?: number; deleting?: boolean; spec?: object }[] | Error>
>;

/** A cluster with these objects in every namespace. */
const cluster = (kinds: Kinds) => ({
  async list(resource: Resource, options: { namespace?: string | undefined } = {}) {
    const found = kinds[resource.plural] ?? [];
    if (found instanceof Error) throw found;
    const items = found.map(({ name, replicas, deleting, spec }) =>
      kubeObject.parse({
        metadata: { name, namespace: options.namespace, ...(deleting ? { deletionTimestamp: 'now' } : {}) },
        spec: { ...(replicas === undefined ? {} : { replicas }), ...spec },
      }),
    );
    return { items, resourceVersion: '1' };
  },
});
const now = () => new Date(0);
const WELL: Kinds = {
  statefulsets: [{ name: 'tikv', replicas: 3 }],
  deployments: [{ name: 'load' }],
  persistentvolumeclaims: [{ name: 'data-0' }, { name: 'data-1' }],
};
const before = await readBaseline(['tikv'], cluster(WELL), now());
const seenIn = (kinds: Kinds) => observeBaseline(before, ['tikv'], cluster({ ...WELL, ...kinds }), now);

describe('a baseline', () => {
  it('passes while nothing is removed, however much is added', async () => {
    const more = {
      statefulsets: [
        { name: 'tikv', replicas: 4 },
        { name: 'new', replicas: 1 },
      ],
    };
    expect(await seenIn(more)).toMatchObject({
      name: 'baseline',
      passing: true,
      observed: '2 workloads and 2 volume claims exist as before the first command',
    });
  });

  it.each<[string, Kinds, string]>([
    ['a workload is deleted', { statefulsets: [] }, 'StatefulSet tikv/tikv no longer exists; it had 3 replicas'],
    [
      'a workload is being deleted',
      { deployments: [{ name: 'load', deleting: true }] },
      'Deployment tikv/load no longer exists; it had 1 replica',
    ],
    [
      'a workload is scaled down',
      { statefulsets: [{ name: 'tikv', replicas: 0 }] },
      'StatefulSet tikv/tikv requests 0 replicas, but 3 before the first command',
    ],
    [
      'a volume claim is deleted',
      { persistentvolumeclaims: [{ name: 'data-0' }] },
      'PersistentVolumeClaim tikv/data-1 no longer exists or is being deleted',
    ],
    [
      'a volume claim waits for its pod to go',
      { persistentvolumeclaims: [{ name: 'data-0' }, { name: 'data-1', deleting: true }] },
      'PersistentVolumeClaim tikv/data-1 no longer exists or is being deleted',
    ],
  ])('does not pass when %s', async (_what, kinds, observed) => {
    expect(await seenIn(kinds)).toMatchObject({ passing: false, observed });
  });

  it('does not pass when it cannot be observed', async () => {
    const blind = await seenIn({ statefulsets: new KubeError(403, 'Forbidden', 'no') });
    expect(blind).toMatchObject({ passing: false, forbidden: true, error: expect.stringContaining('namespace tikv') });
    expect(blind).not.toHaveProperty('observed');
  });

  it('leaves out objects that were already being deleted', async () => {
    const leaving = await readBaseline(
      ['tikv'],
      cluster({ statefulsets: [{ name: 'old', replicas: 3, deleting: true }] }),
      now(),
    );
    expect(leaving.workloads).toEqual([]);
    expect(baselineObservation(leaving)).toMatchObject({
      passing: true,
      observed: expect.stringContaining('no workloads'),
    });
  });

  it('lets an autoscaler remove the replicas that it added', async () => {
    const scaleTargetRef = { kind: 'Deployment', name: 'web' };
    const scaled = await readBaseline(
      ['tikv'],
      cluster({
        deployments: [{ name: 'web', replicas: 9 }],
        horizontalpodautoscalers: [{ name: 'web', spec: { scaleTargetRef, minReplicas: 2 } }],
      }),
      now(),
    );
    expect(scaled.workloads).toMatchObject([{ name: 'web', replicas: 2 }]);
  });

  it('ignores autoscalers that it may not read, but nothing else', async () => {
    const forbidden = new KubeError(403, 'Forbidden', 'no');
    const seen = await readBaseline(['tikv'], cluster({ ...WELL, horizontalpodautoscalers: forbidden }), now());
    expect(seen).toEqual(before);
    await expect(readBaseline(['tikv'], cluster({ ...WELL, deployments: forbidden }), now())).rejects.toThrow(
      'namespace tikv',
    );
  });

  it('covers every target, and reports how much it leaves out', async () => {
    const many = {
      statefulsets: Array.from({ length: 40 }, (_, index) => ({ name: `s${index}`, replicas: 1 })),
      persistentvolumeclaims: Array.from({ length: 70 }, (_, index) => ({ name: `c${index}` })),
    };
    const large = await readBaseline(['a', 'b'], cluster(many), now());
    expect([large.workloads.length, large.volumeClaims.length]).toEqual([MAX_WORKLOADS, MAX_VOLUME_CLAIMS]);
    expect(large.omitted).toBe(80 - MAX_WORKLOADS + 140 - MAX_VOLUME_CLAIMS);
    expect(listMissing(large, { workloads: [], volumeClaims: [] })).toHaveLength(MAX_WORKLOADS + MAX_VOLUME_CLAIMS);
    const seen = await observeBaseline(large, ['a', 'b'], cluster(many), now);
    expect(seen).toMatchObject({ passing: true, observed: expect.stringContaining('28 more are not checked') });
  });
});
