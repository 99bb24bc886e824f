// GET task: everything that the agent needs to know, from the Incident, the class snapshot of the
// attempt, and the runbooks.

import type { ServerResponse } from 'node:http';
import { stringify } from 'yaml';
import type { Incident } from '../../../api/incident.ts';
import type { Attempt, CheckResult } from '../../../api/incident-status.ts';
import { NoLease } from '../../../errors.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { sendJson } from '../../../net/http-answer.ts';
import type { Lease } from '../../leases.ts';
import type { Task } from '../../protocol.ts';
import { parseScope } from '../docker/scope.ts';
import type { Caller, GatewayContext } from '../door.ts';
import { type EarlierAttempt, readEarlierAttempts } from './earlier-attempts.ts';
import { readRunbooks } from './runbooks.ts';

export async function getTask(
  gateway: GatewayContext,
  client: Pick<KubeClient, 'withToken'>,
  { lease }: Caller,
  response: ServerResponse,
): Promise<void> {
  const incident = gateway.leases.incident(lease.session);
  if (incident === undefined) throw new NoLease('the Incident no longer exists');
  const [budget, runbooks, earlier] = await Promise.all([
    gateway.budgets.of(lease.session),
    readRunbooks(gateway, client, lease),
    readEarlierAttempts(gateway.log, lease.session, lease.attempt),
  ]);
  sendJson(response, 200, taskFor(incident, lease, { turnsUsed: budget.usage().turns, runbooks, earlier }));
}

/** What the gateway knows beside the Incident. */
interface Known {
  readonly turnsUsed: number;
  readonly runbooks: Task['runbooks'];
  readonly earlier: ReadonlyMap<number, EarlierAttempt>;
}

/** Builds the task of an attempt. */
function taskFor(incident: Incident, lease: Lease, { turnsUsed, runbooks, earlier }: Known): Task {
  const { spec, metadata, status } = incident;
  const { description, alertLabels, alertAnnotations } = spec;
  const { promptAdditions, docker } = lease.class;
  return {
    session: lease.session,
    attempt: lease.attempt,
    incident: {
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      summary: spec.summary,
      ...(description === undefined ? {} : { description }),
      severity: spec.severity,
      ...(alertLabels === undefined ? {} : { alertLabels }),
      ...(alertAnnotations === undefined ? {} : { alertAnnotations }),
    },
    targetNamespaces: [...lease.targetNamespaces],
    checks: spec.verify.checks.map(({ name, ...check }) => ({
      name,
      text: stringify(check).trimEnd(),
      ...lastSeen(status?.verification?.find((result) => result.name === name)),
    })),
    soakSeconds: spec.verify.soakSeconds,
    runbooks,
    mode: lease.class.mode,
    model: {
      name: lease.class.model,
      summaryName: lease.class.summaryModel,
      maxOutputTokens: lease.class.maxOutputTokens,
      ...lease.class.modelOptions,
    },
    ...(promptAdditions === undefined ? {} : { promptAdditions }),
    ...(docker === undefined ? {} : { docker: `${parseScope(docker).text} on Docker host ${docker.endpoint}` }),
    limits: lease.limits,
    turnsLeft: Math.max(0, lease.limits.maxTurns - turnsUsed),
    deadline: new Date(lease.deadline).toISOString(),
    now: new Date().toISOString(),
    previousAttempts: (status?.attempts ?? [])
      .filter(({ number }) => number < lease.attempt)
      .map((attempt) => previousAttempt(attempt, earlier.get(attempt.number))),
  };
}

/** What a check saw last. */
function lastSeen(result: CheckResult | undefined): Partial<Task['checks'][number]> {
  if (result === undefined) return {};
  const { passing, observed, error, observedTime } = result;
  const seen = error ?? observed;
  return { passing, observedTime, ...(seen === undefined ? {} : { observed: seen }) };
}

/** What the record knows of an earlier attempt. */
function previousAttempt(
  { number, reason = 'Interrupted', message = '' }: Attempt,
  known: EarlierAttempt | undefined,
): Task['previousAttempts'][number] {
  const { commands = [], writes = [], claim } = known ?? {};
  return {
    ...{ number, reason, message, writes: [...writes], commands: [...commands] },
    ...(claim === undefined ? {} : { claim }),
  };
}
