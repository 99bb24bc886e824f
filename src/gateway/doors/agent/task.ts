// GET task: everything that the agent needs to know, from the Incident, the class snapshot of the
// attempt, and the runbooks.

import type { ServerResponse } from 'node:http';
import { stringify } from 'yaml';
import { z } from 'zod';
import { RUNBOOK_CONFIG_MAP } from '../../../api/group.ts';
import type { Incident } from '../../../api/incident.ts';
import { errorMessage, NoLease } from '../../../errors.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { CONFIG_MAPS } from '../../../kube/resources.ts';
import { sendJson } from '../../../net/http-answer.ts';
import type { Lease } from '../../leases.ts';
import type { Task } from '../../protocol.ts';
import { parseScope } from '../docker/scope.ts';
import type { Caller, GatewayContext } from '../door.ts';

const configMap = z.looseObject({ data: z.record(z.string(), z.string()).optional() });
/** The maximum length of one namespace's runbook, in characters. */
const RUNBOOK_LIMIT = 16_384;

export async function getTask(
  gateway: GatewayContext,
  client: Pick<KubeClient, 'withToken'>,
  { lease }: Caller,
  response: ServerResponse,
): Promise<void> {
  const incident = gateway.leases.incident(lease.session);
  if (incident === undefined) throw new NoLease('the Incident no longer exists');
  const [budget, runbooks] = await Promise.all([
    gateway.budgets.of(lease.session),
    readRunbooks(gateway, client, lease),
  ]);
  sendJson(response, 200, taskFor(incident, lease, budget.usage().turns, runbooks));
}

/** Builds the task of an attempt. */
export function taskFor(incident: Incident, lease: Lease, turnsUsed: number, runbooks: Task['runbooks']): Task {
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
    checks: spec.verify.checks.map(({ name, ...check }) => ({ name, text: stringify(check).trimEnd() })),
    runbooks,
    mode: lease.class.mode,
    model: {
      name: lease.class.model,
      summaryName: lease.class.summaryModel,
      maxOutputTokens: lease.class.maxOutputTokens,
    },
    ...(promptAdditions === undefined ? {} : { promptAdditions }),
    ...(docker === undefined ? {} : { docker: `${parseScope(docker).text} on Docker host ${docker.endpoint}` }),
    limits: lease.limits,
    turnsLeft: Math.max(0, lease.limits.maxTurns - turnsUsed),
    deadline: new Date(lease.deadline).toISOString(),
    previousAttempts: (status?.attempts ?? [])
      .filter(({ number }) => number < lease.attempt)
      .map(({ number, reason, message }) => ({ number, reason: reason ?? 'Interrupted', message: message ?? '' })),
  };
}

/**
 * Reads runbooks with the attempt's own token, so that the agent sees only those that it may read.
 */
async function readRunbooks(
  gateway: GatewayContext,
  client: Pick<KubeClient, 'withToken'>,
  lease: Lease,
): Promise<Task['runbooks']> {
  const own = client.withToken(() => gateway.attemptTokens.token(lease));
  const read = lease.targetNamespaces.map(async (namespace) => {
    try {
      const object = configMap.parse(await own.get(CONFIG_MAPS, { namespace, name: RUNBOOK_CONFIG_MAP }));
      const parts = Object.entries(object.data ?? {}).map(([name, text]) => `## ${name}\n${text.trim()}`);
      const text = parts.join('\n\n').slice(0, RUNBOOK_LIMIT);
      return text === '' ? [] : [{ namespace, text }];
    } catch (error) {
      // Most namespaces have no runbook, and the agent can work without one.
      gateway.logger.debug({ namespace, error: errorMessage(error) }, 'no runbook');
      return [];
    }
  });
  return (await Promise.all(read)).flat();
}
