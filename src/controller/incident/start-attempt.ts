// The steps that start an attempt. Each is idempotent, and none writes status: the next plan does.

import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER, LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../../api/group.ts';
import { type Incident, listTargetNamespaces } from '../../api/incident.ts';
import type { Baseline } from '../../api/incident-status.ts';
import { baselineObservation, readBaseline } from '../../checks/baseline.ts';
import { CheckUnreadable, type Observation } from '../../checks/observation.ts';
import { observeChecks } from '../../checks/observe.ts';
import { baselineResults } from '../../checks/soak.ts';
import type { KubeObject } from '../../kube/client.ts';
import { isAlreadyExists } from '../../kube/errors.ts';
import { PODS } from '../../kube/resources.ts';
import { backoffMs, pause } from '../../net/retry.ts';
import type { BuiltObject } from '../built-object.ts';
import type { ClassChecks } from '../class-checks.ts';
import { verifyAccount } from '../verify-account.ts';
import { agentPod } from './agent-pod.ts';
import { canaryAnnotation, placeCanaries } from './canaries.ts';
import type { AttemptRef } from './names.ts';
import { networkPolicy } from './network-policy.ts';
import type { ReconcilerDeps } from './reconciler-deps.ts';
import { roleBindings, verifyBindings } from './role-bindings.ts';
import { serviceAccount } from './service-account.ts';
import type { ControllerStatus } from './status.ts';

/** How long new role bindings may take to reach the authorizer, in ms. */
const RIGHTS_WAIT_MS = 3000;

/**
 * Applies what the pod needs: service accounts, network policy and role bindings; and places the
 * canary Secrets.
 * @throws KubeError
 */
export async function makeSurroundings(
  { client, installation, seams }: Pick<ReconcilerDeps, 'client' | 'installation' | 'seams'>,
  ref: AttemptRef,
  agentClass: AgentClass,
): Promise<void> {
  const { agentsNamespace } = installation;
  const { incident } = ref;
  const className = agentClass.metadata.name;
  const apply = ({ resource, object }: BuiltObject) =>
    client.apply(resource, object, { fieldManager: CONTROLLER_MANAGER, force: true });
  await apply(serviceAccount(ref, agentsNamespace));
  await seams.checkpoint('account-made', incident);
  if (installation.tripwires !== undefined) await placeCanaries(client, installation.tripwires, incident);
  await Promise.all(
    [
      verifyAccount(className, agentsNamespace),
      networkPolicy(ref, agentsNamespace),
      ...verifyBindings(incident, className, agentClass.spec, agentsNamespace),
      ...roleBindings(ref, agentClass.spec, agentsNamespace),
    ].map(apply),
  );
  await seams.checkpoint('surroundings-made', incident);
}

/**
 * Observes the checks, and the workloads in the target namespaces, before the first command.
 * @throws CheckUnreadable when the workloads cannot be read. Without a baseline, deleting the
 * workloads could be mistaken for a repair.
 */
export async function observeFirst(
  checks: Pick<ClassChecks, 'contextFor'>,
  incident: Incident,
  signal: AbortSignal,
): Promise<Required<Pick<ControllerStatus, 'verification' | 'baseline'>>> {
  const { observations, baseline } = await observeBeforeFirstCommand(checks, incident, signal);
  return {
    verification: baselineResults([...observations, baselineObservation(baseline)]),
    baseline: withReadings(baseline, observations),
  };
}

async function observeBeforeFirstCommand(
  checks: Pick<ClassChecks, 'contextFor'>,
  incident: Incident,
  signal: AbortSignal,
): Promise<{ readonly observations: readonly Observation[]; readonly baseline: Baseline }> {
  const { agentClassName, verify } = incident.spec;
  const context = checks.contextFor(agentClassName, incident.metadata.namespace);
  const targets = listTargetNamespaces(incident);
  const until = Date.now() + RIGHTS_WAIT_MS;
  for (let round = 1; ; round += 1) {
    const last = signal.aborted || Date.now() >= until;
    const [observations, baseline] = await Promise.all([
      observeChecks(verify.checks, targets, context),
      readBaseline(targets, context.kube, context.now()).catch((error: unknown) => {
        const refused = error instanceof CheckUnreadable && error.forbidden;
        if (refused && !last) return undefined;
        if (!refused) throw error;
        throw new CheckUnreadable(
          `${error.message}; the readRoles of AgentClass ${agentClassName} must allow listing statefulsets, deployments and persistentvolumeclaims`,
          { forbidden: true, cause: error },
        );
      }),
    ]);
    if (baseline !== undefined && (last || !observations.some((result) => result.forbidden)))
      return { observations, baseline };
    await pause(backoffMs(round, { baseMs: 20, maxMs: 500 }), signal);
  }
}

function withReadings(baseline: Baseline, observations: readonly Observation[]): Baseline {
  const readings = observations.flatMap(({ name, reading }) =>
    reading === undefined ? [] : [{ check: name, json: reading }],
  );
  return readings.length === 0 ? baseline : { ...baseline, readings };
}

/**
 * Creates the attempt's pod unless an interrupted controller has already done so.
 * @returns its UID
 */
export async function createPod(
  { client, installation, seams }: Pick<ReconcilerDeps, 'client' | 'installation' | 'seams'>,
  { incident, attempt }: AttemptRef,
  agentClass: AgentClass,
): Promise<string> {
  const { limits, startTime } = incident.status ?? {};
  const elapsedSeconds = startTime === undefined ? 0 : (seams.now().getTime() - Date.parse(startTime)) / 1000;
  const { tripwires } = installation;
  const pod = agentPod({
    incident,
    attempt,
    spec: agentClass.spec,
    installation,
    annotations: tripwires === undefined ? {} : await canaryAnnotation(client, tripwires, incident),
    secondsLeft: (limits?.timeoutSeconds ?? 0) - elapsedSeconds,
  });
  let created: KubeObject;
  try {
    created = await client.create(PODS, pod);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const ref = { namespace: installation.agentsNamespace, name: pod.metadata?.name ?? '' };
    created = await client.get(PODS, ref);
    const labels = created.metadata.labels ?? {};
    if (labels[LABEL_INCIDENT_UID] !== incident.metadata.uid || labels[LABEL_ATTEMPT] !== String(attempt)) {
      throw new Error(`pod ${ref.namespace}/${ref.name} exists, but does not belong to this attempt`);
    }
    if (created.metadata.deletionTimestamp != null)
      throw new Error(`pod ${ref.name} of an earlier try is still terminating`);
  }
  if (created.metadata.uid === undefined) throw new Error('the API server returned a pod without a UID');
  return created.metadata.uid;
}
