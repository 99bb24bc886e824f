// Incidents with attempts in front of a gateway: created as the controller would, with the pods and
// tokens that their agents would have.

import * as z from 'zod';
import type { DockerAccess } from '../../src/api/docker-access.ts';
import { AGENT_AUDIENCE, LABEL_ATTEMPT, LABEL_INCIDENT_UID, SANDBOX_AUDIENCE } from '../../src/api/group.ts';
import { type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import type { Limits } from '../../src/api/limits.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { INCIDENTS, PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';

/** The namespace of the agents' pods, and the one that they repair. */
export const AGENTS = 'oplab-agents';
export const TARGET = 'patient';

export interface Attempt {
  readonly name: string;
  readonly session: string;
  readonly podName: string;
  readonly podUID: string;
  readonly agentToken: string;
  readonly sandboxToken: string;
  /** No command runs unless the test records one. */
  readonly idle: boolean;
}

export interface AttemptOptions {
  readonly models?: [string, string];
  readonly mode?: 'Repair' | 'Diagnose';
  readonly docker?: DockerAccess;
  /** Default: a command of the agent runs as soon as the attempt uses the kube or docker door. */
  readonly idle?: boolean;
}

const LIMITS: Limits = { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 };

/** Plays the controller. */
export class GatewayAttempts {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Creates an Incident with a running attempt. */
  async open(name: string, limits: Partial<Limits> = {}, options: AttemptOptions = {}): Promise<Attempt> {
    await this.#client.create(INCIDENTS, {
      apiVersion: 'oplab.dev/v1alpha1',
      kind: 'Incident',
      metadata: { name, namespace: TARGET },
      spec: {
        summary: `the patient of ${name} is unwell`,
        severity: 'critical',
        verify: {
          soakSeconds: 0,
          checks: [
            {
              name: 'well',
              kubernetes: {
                apiVersion: 'v1',
                kind: 'ConfigMap',
                name: 'patient',
                cel: 'object.data.state == "well"',
              },
            },
          ],
        },
      },
    });
    await this.setStatus(name, {
      phase: 'Running',
      startTime: new Date().toISOString(),
      limits: { ...LIMITS, ...limits },
    });
    return await this.#start(name, 1, options);
  }

  /** Ends the current attempt of an Incident and starts the next one. */
  async nextAttempt(name: string): Promise<Attempt> {
    const { status } = await this.incident(name);
    const attempts = status?.attempts ?? [];
    const last = attempts.at(-1);
    const ended = {
      ...last,
      endTime: new Date().toISOString(),
      reason: 'ChecksFailed',
      message: 'check well does not hold',
    };
    await this.setStatus(name, { attempts: [...attempts.slice(0, -1), ended] });
    return await this.#start(name, (last?.number ?? 0) + 1);
  }

  async incident(name: string): Promise<Incident> {
    return incidentSchema.parse(await this.#client.get(INCIDENTS, { name, namespace: TARGET }));
  }

  /** Merges into the status. */
  async setStatus(name: string, status: object): Promise<void> {
    await this.#client.patch(INCIDENTS, { name, namespace: TARGET }, { status }, { subresource: 'status' });
  }

  async #token(account: string, audience: string, pod: { name: string; uid: string }): Promise<string> {
    const answer = await this.#client.createSubresource(
      SERVICE_ACCOUNTS,
      { name: account, namespace: AGENTS },
      'token',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences: [audience],
          expirationSeconds: 3600,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod },
        },
      },
    );
    return z.looseObject({ status: z.looseObject({ token: z.string() }) }).parse(answer).status.token;
  }

  async #start(name: string, number: number, options: AttemptOptions = {}): Promise<Attempt> {
    const incident = await this.incident(name);
    const podName = `${name}-${number}`;
    const [model, summaryModel] = options.models ?? ['claude-opus-5-5', 'claude-haiku-5-5'];
    await this.#client.create(SERVICE_ACCOUNTS, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: podName, namespace: AGENTS },
    });
    await this.#client.create(ROLE_BINDINGS, {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: podName, namespace: TARGET },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'everything' },
      subjects: [{ kind: 'ServiceAccount', name: podName, namespace: AGENTS }],
    });
    const attempts = [...(incident.status?.attempts ?? [])];
    const entered = {
      number,
      sessionID: incident.metadata.uid,
      podName,
      serviceAccountName: podName,
      class: {
        name: 'default',
        generation: 1,
        mode: options.mode ?? 'Repair',
        model,
        summaryModel,
        maxOutputTokens: 16_000,
        ...(options.docker === undefined ? {} : { docker: options.docker }),
      },
      startTime: new Date().toISOString(),
    };
    await this.setStatus(name, { attempts: [...attempts, entered] });
    const pod = await this.#client.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: podName,
        namespace: AGENTS,
        labels: { [LABEL_INCIDENT_UID]: incident.metadata.uid, [LABEL_ATTEMPT]: String(number) },
      },
      spec: {
        serviceAccountName: podName,
        automountServiceAccountToken: false,
        containers: [{ name: 'agent', image: 'none' }],
      },
    });
    const uid = pod.metadata.uid ?? '';
    await this.setStatus(name, { attempts: [...attempts, { ...entered, podUID: uid }] });
    const [agentToken, sandboxToken] = await Promise.all([
      this.#token(podName, AGENT_AUDIENCE, { name: podName, uid }),
      this.#token(podName, SANDBOX_AUDIENCE, { name: podName, uid }),
    ]);
    const { idle = false } = options;
    return { name, session: incident.metadata.uid, podName, podUID: uid, agentToken, sandboxToken, idle };
  }
}
