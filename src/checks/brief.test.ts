// The one-line summaries of objects in a list.

import { expect, it } from 'vitest';
import { kubeObject } from '../kube/object.ts';
import { summarizeObject } from './brief.ts';

const object = (parts: object) => kubeObject.parse({ metadata: { name: 'tikv-tikv' }, ...parts });

it.each([
  [
    'a workload',
    { spec: { replicas: 3 }, status: { replicas: 3, readyReplicas: 2 } },
    'tikv-tikv: 2 of 3 replicas ready',
  ],
  ['a workload of which nothing is ready', { spec: { replicas: 3 }, status: {} }, 'tikv-tikv: 0 of 3 replicas ready'],
  [
    'a pod that runs',
    {
      status: {
        phase: 'Running',
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [{ name: 'tikv', ready: true, restartCount: 0, state: { running: {} }, lastState: {} }],
      },
    },
    'tikv-tikv: Running; tikv ready',
  ],
  [
    'a pod that crashes',
    {
      status: {
        phase: 'Running',
        conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }],
        containerStatuses: [
          {
            name: 'tikv',
            ready: false,
            restartCount: 5,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
            lastState: { terminated: { reason: 'OOMKilled', exitCode: 137 } },
          },
        ],
      },
    },
    'tikv-tikv: Running; tikv not ready, CrashLoopBackOff, previously OOMKilled, 5 restarts',
  ],
  [
    'a pod that no node takes',
    {
      status: {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' }],
      },
    },
    'tikv-tikv: Pending; PodScheduled False (Unschedulable)',
  ],
  ['anything else', { data: { a: 'b' } }, 'tikv-tikv'],
])('%s', (_what, parts, line) => {
  expect(summarizeObject(object(parts))).toBe(line);
});
