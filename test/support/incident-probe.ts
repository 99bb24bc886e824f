// A patient, an Incident about it, and the actions of the kubelet and the gateway in its life.

import { GATEWAY_MANAGER } from '../../src/api/group.ts';
import { type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import type { ClaimOutcome } from '../../src/api/incident-status.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { KubeClient, KubeObject } from '../../src/kube/client.ts';
import { isConflict, isNotFound } from '../../src/kube/errors.ts';
import { CONFIG_MAPS, INCIDENTS, PODS } from '../../src/kube/resources.ts';
import { AGENTS } from './api-server.ts';
import { eventually } from './eventually.ts';
import { NAMESPACES } from './namespaces.ts';

/**
 * A patient: one ConfigMap whose state is healthy or not. The check reads it with the class's
 * read-only identity.
 */
export class Patient {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly #now: () => Date;

  /**
   * @param now the controller's clock, if a test moves it: what the gateway writes must not seem
   * old to the controller
   */
  constructor(client: KubeClient, namespace: string, now = () => new Date()) {
    this.client = client;
    this.namespace = namespace;
    this.#now = now;
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
    return new IncidentProbe(this.client, this.namespace, name, this.#now);
  }
}

/** One Incident, and the actions of the kubelet and the gateway in its life. */
export class IncidentProbe {
  readonly client: KubeClient;
  readonly ref: { readonly namespace: string; readonly name: string };
  readonly #now: () => Date;

  constructor(client: KubeClient, namespace: string, name: string, now = () => new Date()) {
    this.client = client;
    this.ref = { namespace, name };
    this.#now = now;
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

  /** Makes the controller reconcile again, as any watch event would. */
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
      { what: `${this.ref.name}: ${what}`, withinMs },
    ).catch((error: unknown) => {
      throw new Error(
        `${error instanceof Error ? error.message : error}; status: ${JSON.stringify(last?.status, null, 1)}`,
      );
    });
  }

  /** The pod of the attempt, once its UID is in the status. */
  async findPod(attempt: number): Promise<KubeObject> {
    const incident = await this.until(
      `attempt ${attempt} has a pod`,
      ({ status }) => status?.attempts?.find((candidate) => candidate.number === attempt)?.podUID !== undefined,
    );
    const record = incident.status?.attempts?.find((candidate) => candidate.number === attempt);
    const pod = await this.client.get(PODS, { namespace: AGENTS, name: record?.podName ?? '' });
    if (pod.metadata.uid !== record?.podUID) throw new Error('status names another pod');
    return pod;
  }

  /** Acts as the kubelet. */
  async podStatus(attempt: number, status: object): Promise<void> {
    const pod = await this.findPod(attempt);
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

  /** Acts as the gateway when the agent concludes. */
  async claim(attempt: number, outcome: ClaimOutcome): Promise<void> {
    const time = this.#now().toISOString();
    await this.gatewayWrites({
      claim: {
        attempt,
        outcome,
        summary: `the agent says ${outcome}`,
        rootCause: 'the test says so',
        actions: [],
        time,
      },
      conditions: [
        {
          type: 'RepairClaimed',
          status: 'True',
          reason: outcome,
          message: '',
          lastTransitionTime: time,
        },
      ],
    });
  }

  /** Applies the gateway's part of the status: what it already contains, and these fields. */
  async gatewayWrites(change: object): Promise<void> {
    for (;;) {
      const { metadata, status } = await this.read();
      const own = {
        ...(status?.claim === undefined ? {} : { claim: status.claim }),
        ...(status?.usage === undefined ? {} : { usage: status.usage }),
        ...(status?.changes === undefined ? {} : { changes: status.changes }),
        ...(status?.audit === undefined ? {} : { audit: { ...status.audit, sealedHeadHash: undefined } }),
        conditions: status?.conditions?.filter(({ type }) => ['RepairClaimed', 'WritesExplained'].includes(type)) ?? [],
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

  /** Acts as the gateway when the controller requests the seal. */
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
