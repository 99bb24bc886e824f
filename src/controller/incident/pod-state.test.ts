// Pod statuses as the kubelet writes them, and the state of the attempt that follows.

import { describe, expect, it } from 'vitest';
import { kubeObject } from '../../kube/object.ts';
import { podState } from './pod-state.ts';

const state = (status: object) => podState(kubeObject.parse({ metadata: { name: 'p' }, status }));
const container = (name: string, inner: object, restartCount = 0) => ({ name, restartCount, state: inner });

describe('podState', () => {
  it('is starting while images are pulled and the sandbox starts', () => {
    expect(state({})).toEqual({ type: 'starting' });
    const creating = [container('sandbox', { waiting: { reason: 'ContainerCreating' } })];
    expect(state({ phase: 'Pending', initContainerStatuses: creating })).toEqual({ type: 'starting' });
    const initializing = [container('agent', { waiting: { reason: 'PodInitializing' } })];
    expect(state({ phase: 'Pending', containerStatuses: initializing })).toEqual({ type: 'starting' });
  });

  it.each([
    ['ErrImagePull'],
    ['ImagePullBackOff'],
    ['InvalidImageName'],
    ['CreateContainerConfigError'],
    ['CrashLoopBackOff'],
  ])('names the trouble: %s', (reason) => {
    const statuses = [container('sandbox', { waiting: { reason, message: 'because' } })];
    expect(state({ phase: 'Pending', initContainerStatuses: statuses })).toEqual({
      type: 'starting',
      problem: `container sandbox: ${reason}: because`,
    });
  });

  it('names why it cannot be scheduled', () => {
    const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes' }];
    expect(state({ phase: 'Pending', conditions })).toEqual({ type: 'starting', problem: 'Unschedulable: 0/1 nodes' });
  });

  it('is running once the agent runs, even between two restarts', () => {
    expect(state({ phase: 'Running', containerStatuses: [container('agent', { running: {} })] })).toEqual({
      type: 'running',
    });
    const crashed = [container('agent', { waiting: { reason: 'CrashLoopBackOff' } }, 2)];
    expect(state({ phase: 'Running', containerStatuses: crashed })).toEqual({ type: 'running' });
  });

  it('has ended when the agent fails repeatedly', () => {
    const crashed = [container('agent', { waiting: { reason: 'CrashLoopBackOff' } }, 5)];
    expect(state({ phase: 'Running', containerStatuses: crashed })).toMatchObject({ type: 'ended', completed: false });
  });

  it('goes on when the agent is killed repeatedly, for a while', () => {
    const killed = (restarts: number) => {
      const lastState = { terminated: { exitCode: 137, reason: 'OOMKilled' } };
      return { ...container('agent', { waiting: { reason: 'CrashLoopBackOff' } }, restarts), lastState };
    };
    expect(state({ phase: 'Running', containerStatuses: [killed(10)] })).toEqual({ type: 'running' });
    expect(state({ phase: 'Running', containerStatuses: [killed(20)] })).toMatchObject({ type: 'ended' });
  });

  it('has ended with the report that the agent leaves, and with none if it left something else', () => {
    const left = (message: string) =>
      state({ phase: 'Succeeded', containerStatuses: [container('agent', { terminated: { exitCode: 0, message } })] });
    expect(left('{"code":"OPLAB_MODEL_ACCOUNT","message":"add credit"}')).toMatchObject({
      report: { code: 'OPLAB_MODEL_ACCOUNT', message: 'add credit' },
    });
    expect(left('Error: boom')).toEqual({ type: 'ended', completed: true, message: 'the agent ended' });
  });

  it('has ended with the reason that the kubelet gives', () => {
    expect(state({ phase: 'Succeeded' })).toMatchObject({ type: 'ended', completed: true });
    expect(state({ phase: 'Failed', reason: 'Evicted', message: 'low on memory' })).toEqual({
      type: 'ended',
      completed: false,
      message: 'the pod failed: Evicted: low on memory',
    });
    const oom = [container('agent', { terminated: { exitCode: 137, reason: 'OOMKilled' } })];
    expect(state({ phase: 'Failed', containerStatuses: oom })).toMatchObject({
      message: 'the pod failed: OOMKilled 137',
    });
  });
});
