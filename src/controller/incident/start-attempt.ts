// Starts an attempt: what stands around the pod, the baseline, the pod, its UID. Every step may have been done before.

import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER, LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../../api/group.ts';
import { type Baseline, type Incident, targetNamespacesOf } from '../../api/incident.ts';
import { baselineObservation, readBaseline } from '../../checks/baseline.ts';
import { CheckUnreadable, type Observation } from '../../checks/observation.ts';
import { observeChecks } from '../../checks/observe.ts';
import { baselineResults } from '../../checks/soak.ts';
import { backoffMs, pause } from '../../kube/backoff.ts';
import type { KubeObject } from '../../kube/client.ts';
import { isAlreadyExists } from '../../kube/errors.ts';
import { PODS } from '../../kube/resources.ts';
import { agentPod } from './agent-pod.ts';
import { networkPolicy, roleBindings, serviceAccount, verifyAccount, verifyBindings } from './attempt-objects.ts';
import type { ReconcilerDeps } from './reconciler-deps.ts';
import { ownedStatus } from './status.ts';
import { writeStatus } from './write-status.ts';

/** Rights that were just bound take a moment to reach the authorizer; longer than this, they are missing. In ms. */
const RIGHTS_WAIT_MS = 3000;

/**
 * @param incident with the attempt already in its status
 * @returns the Incident as it was last written
 * @throws KubeError, also for a conflict: somebody wrote in between, so the plan has to be made anew
 */
export async function startAttempt(
  deps: ReconcilerDeps,
  incident: Incident,
  number: number,
  agentClass: AgentClass,
  signal: AbortSignal,
): Promise<Incident> {
  await makeSurroundings(deps, incident, number, agentClass);
  await deps.checkpoint('surroundings-made', incident);
  let current = incident;
  if (isBeforeFirstCommand(current)) {
    const { seen, baseline } = await lookBeforeFirstCommand(deps, current, signal);
    signal.throwIfAborted();
    current = await writeStatus(deps.client, current, {
      ...ownedStatus(current.status),
      verification: baselineResults([...seen, baselineObservation(baseline)]),
      baseline: withReadings(baseline, seen),
    });
    await deps.checkpoint('baseline-recorded', current);
  }
  signal.throwIfAborted();
  const podUID = await makePod(deps, current, number, agentClass);
  await deps.checkpoint('pod-made', current);
  const status = ownedStatus(current.status);
  const attempts = status.attempts?.map((attempt) => (attempt.number === number ? { ...attempt, podUID } : attempt));
  current = await writeStatus(deps.client, current, { ...status, ...(attempts === undefined ? {} : { attempts }) });
  await deps.checkpoint('pod-recorded', current);
  return current;
}

async function makeSurroundings(
  deps: ReconcilerDeps,
  incident: Incident,
  number: number,
  agentClass: AgentClass,
): Promise<void> {
  const { agentsNamespace } = deps;
  const context = { incident, attempt: number, agentsNamespace };
  const className = agentClass.metadata.name;
  const account = serviceAccount(context);
  const apply = ({ resource, object }: ReturnType<typeof serviceAccount>) =>
    deps.client.apply(resource, object, { fieldManager: CONTROLLER_MANAGER, force: true });
  await apply(account);
  await deps.checkpoint('account-made', incident);
  await Promise.all(
    [
      verifyAccount(className, agentsNamespace),
      networkPolicy(context),
      ...verifyBindings(incident, className, agentClass.spec, agentsNamespace),
      ...roleBindings(context, agentClass.spec),
    ].map(apply),
  );
}

/** The baseline is written before any pod is made; once there was a pod, it is too late for one. */
function isBeforeFirstCommand({ status }: Incident): boolean {
  return status?.baseline === undefined && !status?.attempts?.some((attempt) => attempt.podUID !== undefined);
}

/** @throws CheckUnreadable when what stands cannot be read: without it, deleting the patient would pass for a repair */
async function lookBeforeFirstCommand(
  deps: ReconcilerDeps,
  incident: Incident,
  signal: AbortSignal,
): Promise<{ readonly seen: readonly Observation[]; readonly baseline: Baseline }> {
  const { agentClassName, verify } = incident.spec;
  const context = deps.checkContext(agentClassName);
  const targets = targetNamespacesOf(incident);
  const until = Date.now() + RIGHTS_WAIT_MS;
  for (let round = 1; ; round += 1) {
    const last = signal.aborted || Date.now() >= until;
    const [seen, baseline] = await Promise.all([
      observeChecks(verify.checks, targets, context),
      readBaseline(targets, context.kube, context.now()).catch((error: unknown) => {
        const refused = error instanceof CheckUnreadable && error.forbidden;
        if (refused && !last) return undefined;
        if (!refused) throw error;
        throw new CheckUnreadable(
          `${error.message}; let readRoles of AgentClass ${agentClassName} list statefulsets, deployments and persistentvolumeclaims`,
          { forbidden: true, cause: error },
        );
      }),
    ]);
    if (baseline !== undefined && (last || !seen.some((result) => result.forbidden))) return { seen, baseline };
    await pause(backoffMs(round, { baseMs: 20, maxMs: 500 }), signal);
  }
}

function withReadings(baseline: Baseline, seen: readonly Observation[]): Baseline {
  const readings = seen.flatMap(({ name, reading }) => (reading === undefined ? [] : [{ check: name, json: reading }]));
  return readings.length === 0 ? baseline : { ...baseline, readings };
}

/** The UID of the attempt's pod, made now or by whoever was interrupted here. */
async function makePod(
  deps: ReconcilerDeps,
  incident: Incident,
  number: number,
  agentClass: AgentClass,
): Promise<string> {
  const { limits, startTime } = incident.status ?? {};
  const spent = startTime === undefined ? 0 : (deps.now().getTime() - Date.parse(startTime)) / 1000;
  const pod = agentPod({
    incident,
    attempt: number,
    spec: agentClass.spec,
    agentsNamespace: deps.agentsNamespace,
    systemNamespace: deps.systemNamespace,
    secondsLeft: (limits?.timeoutSeconds ?? 0) - spent,
    wallProbes: deps.wallProbes,
  });
  let made: KubeObject;
  try {
    made = await deps.client.create(PODS, pod);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const ref = { namespace: deps.agentsNamespace, name: pod.metadata?.name ?? '' };
    made = await deps.client.get(PODS, ref);
    const labels = made.metadata.labels ?? {};
    if (labels[LABEL_INCIDENT_UID] !== incident.metadata.uid || labels[LABEL_ATTEMPT] !== String(number)) {
      throw new Error(`pod ${ref.namespace}/${ref.name} exists, but belongs to something else`);
    }
    if (made.metadata.deletionTimestamp != null) throw new Error(`pod ${ref.name} of an earlier try is still ending`);
  }
  if (made.metadata.uid === undefined) throw new Error('the API server gave the pod no UID');
  return made.metadata.uid;
}
