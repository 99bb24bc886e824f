// A real API server with oplab's kinds in it, for tests: no nodes, no gateway; the test plays both.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startControlPlane } from '../../hack/cluster/control-plane.ts';
import { customResourceDefinitions } from '../../src/api/crd.ts';
import { API_VERSION, CONTROLLER_MANAGER, GATEWAY_MANAGER } from '../../src/api/group.ts';
import { type ClaimOutcome, type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import { Controller, type ControllerOptions } from '../../src/controller/controller.ts';
import { createKubeClient, type KubeClient, type KubeObject, type NewKubeObject } from '../../src/kube/client.ts';
import { isConflict, isNotFound } from '../../src/kube/errors.ts';
import type { Log } from '../../src/kube/log.ts';
import { kubeObject } from '../../src/kube/object.ts';
import { AGENT_CLASSES, CONFIG_MAPS, INCIDENTS, NAMESPACES, PODS, type Resource } from '../../src/kube/resources.ts';

export const AGENTS = 'oplab-agents';
export const SYSTEM = 'oplab-system';

const CRDS: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
export const CLUSTER_ROLES: Resource = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'clusterroles',
  kind: 'ClusterRole',
  namespaced: false,
};

export interface ApiServer {
  readonly client: KubeClient;
  readonly kubeconfig: string;
  stop(): Promise<void>;
}

const CONTROLLERS = 'namespace-controller,garbage-collector-controller,serviceaccount-controller';

/** Starts the control plane and installs kinds, namespaces, roles and the class `default`. */
export async function startApiServer(): Promise<ApiServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-api-'));
  const plane = await startControlPlane({ dir, controllers: CONTROLLERS });
  const client = createKubeClient({ kubeconfig: plane.kubeconfig });
  await installKinds(client);
  for (const name of [AGENTS, SYSTEM]) await client.create(NAMESPACES, { metadata: { name } });
  const read = { apiGroups: [''], resources: ['configmaps', 'services'], verbs: ['get', 'list', 'watch'] };
  const slices = { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list'] };
  const write = { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'update', 'patch'] };
  await client.create(CLUSTER_ROLES, { metadata: { name: 'test-read' }, rules: [read, slices] });
  await client.create(CLUSTER_ROLES, { metadata: { name: 'test-operate' }, rules: [write] });
  await client.create(AGENT_CLASSES, agentClass('default'));
  return {
    client,
    kubeconfig: plane.kubeconfig,
    async stop() {
      await plane.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Installs the CustomResourceDefinitions and waits until they are served. */
export async function installKinds(client: KubeClient): Promise<void> {
  for (const definition of Object.values(customResourceDefinitions())) {
    await client.apply(CRDS, kubeObject.parse(definition), { fieldManager: 'test', force: true });
  }
  await eventually(async () => {
    await client.list(INCIDENTS);
    await client.list(AGENT_CLASSES);
    return true;
  });
}

export async function installSystemNamespace(client: KubeClient, name: string): Promise<void> {
  await client.create(NAMESPACES, { metadata: { name } });
}

export function agentClass(name: string, spec: object = {}): NewKubeObject {
  return {
    metadata: { name },
    spec: {
      images: { agent: 'oplab.test/agent:1', sandbox: 'oplab.test/sandbox:1' },
      repairRoles: [{ name: 'test-operate' }],
      readRoles: [{ name: 'test-read' }],
      ...spec,
    },
  };
}

/** Polls until the value is neither undefined nor false; errors count as "not yet". */
export async function eventually<T>(
  read: () => Promise<T | undefined | false>,
  what = 'the condition',
  withinMs = 30_000,
): Promise<T> {
  const until = Date.now() + withinMs;
  let last: unknown;
  while (Date.now() < until) {
    try {
      const value = await read();
      if (value !== undefined && value !== false) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    await sleep(25);
  }
  throw new Error(
    `${what} did not come true within ${withinMs} ms; last: ${last instanceof Error ? last.message : last}`,
  );
}

/** A patient: one ConfigMap that is healthy or not. The check reads it with the class's read-only identity. */
export class Patient {
  readonly client: KubeClient;
  readonly namespace: string;

  constructor(client: KubeClient, namespace: string) {
    this.client = client;
    this.namespace = namespace;
  }

  async admit(state = 'bad'): Promise<this> {
    await this.client.create(NAMESPACES, { metadata: { name: this.namespace } });
    await this.client.create(CONFIG_MAPS, {
      metadata: { namespace: this.namespace, name: 'patient' },
      data: { state },
    });
    return this;
  }

  async become(state: 'good' | 'bad'): Promise<void> {
    await this.client.patch(CONFIG_MAPS, { namespace: this.namespace, name: 'patient' }, { data: { state } });
  }

  /** Applies an Incident about this patient. */
  async report(name: string, spec: Record<string, unknown> = {}): Promise<IncidentProbe> {
    const verify = {
      soakSeconds: 1,
      checks: [
        {
          name: 'patient-good',
          kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'patient', cel: "object.data.state == 'good'" },
        },
      ],
    };
    await this.client.create(INCIDENTS, {
      metadata: { namespace: this.namespace, name },
      spec: { summary: 'the patient is unwell', verify, ...spec },
    });
    return new IncidentProbe(this.client, this.namespace, name);
  }
}

/** One Incident, with the parts that kubelet and gateway play in its life. */
export class IncidentProbe {
  readonly client: KubeClient;
  readonly ref: { readonly namespace: string; readonly name: string };

  constructor(client: KubeClient, namespace: string, name: string) {
    this.client = client;
    this.ref = { namespace, name };
  }

  async read(): Promise<Incident> {
    return incidentSchema.parse(await this.client.get(INCIDENTS, this.ref));
  }

  async exists(): Promise<boolean> {
    try {
      await this.client.get(INCIDENTS, this.ref);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  async spec(change: object): Promise<void> {
    await this.client.patch(INCIDENTS, this.ref, { spec: change });
  }

  /** Makes the controller look again, as any watch event would. */
  async poke(): Promise<void> {
    await this.client.patch(INCIDENTS, this.ref, { metadata: { annotations: { poked: String(Date.now()) } } });
  }

  async delete(): Promise<void> {
    await this.client.delete(INCIDENTS, this.ref);
  }

  condition(type: string): Promise<ReturnType<typeof findCondition>> {
    return this.read().then((incident) => findCondition(incident.status?.conditions, type));
  }

  /** Waits for a state of the Incident. */
  until(what: string, holds: (incident: Incident) => boolean, withinMs = 30_000): Promise<Incident> {
    let last: Incident | undefined;
    return eventually(
      async () => {
        last = await this.read();
        return holds(last) ? last : undefined;
      },
      `${this.ref.name}: ${what}`,
      withinMs,
    ).catch((error: unknown) => {
      throw new Error(
        `${error instanceof Error ? error.message : error}; status: ${JSON.stringify(last?.status, null, 1)}`,
      );
    });
  }

  /** The pod of the attempt, once its UID is in status. */
  async podOf(attempt: number): Promise<KubeObject> {
    const incident = await this.until(
      `attempt ${attempt} has a pod`,
      ({ status }) => status?.attempts?.find((candidate) => candidate.number === attempt)?.podUID !== undefined,
    );
    const record = incident.status?.attempts?.find((candidate) => candidate.number === attempt);
    const pod = await this.client.get(PODS, { namespace: AGENTS, name: record?.podName ?? '' });
    if (pod.metadata.uid !== record?.podUID) throw new Error('status names another pod');
    return pod;
  }

  /** As the kubelet would. */
  async podStatus(attempt: number, status: object): Promise<void> {
    const pod = await this.podOf(attempt);
    const ref = { namespace: AGENTS, name: pod.metadata.name };
    await this.client.patch(PODS, ref, { status }, { subresource: 'status' });
  }

  async podRuns(attempt: number): Promise<void> {
    await this.podStatus(attempt, {
      phase: 'Running',
      containerStatuses: [containerStatus('agent', { running: { startedAt: new Date().toISOString() } })],
    });
    await this.until(
      'the agent runs',
      ({ status }) => findCondition(status?.conditions, 'AgentRunning')?.status === 'True',
    );
  }

  /** As the gateway would, when the agent concludes. */
  async claim(attempt: number, outcome: ClaimOutcome): Promise<void> {
    await this.gatewayWrites({
      claim: {
        attempt,
        outcome,
        summary: `the agent says ${outcome}`,
        rootCause: 'the test says so',
        actions: [],
        time: new Date().toISOString(),
      },
      conditions: [
        {
          type: 'RepairClaimed',
          status: 'True',
          reason: outcome,
          message: '',
          lastTransitionTime: new Date().toISOString(),
        },
      ],
    });
  }

  /** Applies to the gateway's part of the status what it has so far and this. */
  async gatewayWrites(change: object): Promise<void> {
    for (;;) {
      const { metadata, status } = await this.read();
      const own = {
        ...(status?.claim === undefined ? {} : { claim: status.claim }),
        ...(status?.usage === undefined ? {} : { usage: status.usage }),
        ...(status?.audit === undefined ? {} : { audit: { ...status.audit, sealedHeadHash: undefined } }),
        conditions: status?.conditions?.filter((condition) => condition.type === 'RepairClaimed') ?? [],
        ...change,
      };
      try {
        const { name, namespace, resourceVersion } = metadata;
        await this.client.apply(
          INCIDENTS,
          { metadata: { name, namespace, resourceVersion }, status: own },
          { fieldManager: GATEWAY_MANAGER, force: true, subresource: 'status' },
        );
        return;
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }

  /** As the gateway would, when the controller asks for the seal. */
  async seal(): Promise<void> {
    await this.until(
      'the seal is requested',
      ({ status }) => findCondition(status?.conditions, 'AuditSealed')?.reason === 'SealRequested',
      20_000,
    );
    await this.gatewayWrites({ audit: { sessionID: 's', entries: 3, headHash: 'h3', finalHeadHash: 'h3' } });
  }

  finished(): Promise<Incident> {
    return this.until('finished', ({ status }) => findCondition(status?.conditions, 'Finished')?.status === 'True');
  }
}

export function containerStatus(name: string, state: object, restartCount = 0): object {
  return { name, state, restartCount, ready: false, image: 'i', imageID: '' };
}

/** Objects that oplab made for any Incident of a namespace, as "Kind namespace/name". */
export async function madeFor(client: KubeClient, resources: readonly Resource[], incidentNamespace: string) {
  const labelSelector = `${GROUP_LABEL}=${incidentNamespace}`;
  const lists = await Promise.all(
    resources.map(async (resource) =>
      (await client.list(resource, { labelSelector })).items.map((item) => ({ resource, item })),
    ),
  );
  return lists.flat().map(({ resource, item }) => `${resource.kind} ${item.metadata.namespace}/${item.metadata.name}`);
}
const GROUP_LABEL = 'oplab.dev/incident-namespace';

/** Warnings and errors of a controller, so that a failed test shows them. */
export function recordingLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const write = (level: string) => (details: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(details)}`);
  };
  return { lines, debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') };
}

/** A controller in this process. */
export interface RunningController {
  readonly controller: Controller;
  readonly log: ReturnType<typeof recordingLog>;
  /** Ends it gracefully. */
  stop(): Promise<void>;
  /** As SIGKILL would: not one more call reaches the API server, and the lease is not given back. */
  freeze(): void;
}

/** A client that can be cut off from the API server for good. */
function cuttable(client: KubeClient): { client: KubeClient; cut: () => void } {
  let isCut = false;
  const guarded = (inner: KubeClient): KubeClient =>
    new Proxy(inner, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property);
        if (property === 'withToken') {
          return (...token: Parameters<KubeClient['withToken']>) => guarded(target.withToken(...token));
        }
        if (typeof value !== 'function') return value;
        return (...parameters: unknown[]) => (isCut ? new Promise(() => {}) : value.apply(target, parameters));
      },
    });
  return {
    client: guarded(client),
    cut: () => {
      isCut = true;
    },
  };
}

let started = 0;

/** Starts a controller and waits until it leads. */
export async function startController(
  server: ApiServer,
  options: Partial<ControllerOptions> = {},
): Promise<RunningController> {
  const log = recordingLog();
  started += 1;
  const { client, cut } = cuttable(createKubeClient({ kubeconfig: server.kubeconfig }));
  const controller = new Controller({
    client,
    agentsNamespace: AGENTS,
    systemNamespace: SYSTEM,
    identity: `test-${started}`,
    log,
    leaseSeconds: 6,
    ...options,
  });
  const stop = new AbortController();
  const running = controller.run(stop.signal);
  running.catch((error: unknown) => log.lines.push(`ended: ${error}`));
  await eventually(async () => controller.isLeading, 'leadership');
  return {
    controller,
    log,
    async stop() {
      stop.abort();
      await running.catch(() => undefined);
    },
    freeze: cut,
  };
}

export { API_VERSION, CONTROLLER_MANAGER };
