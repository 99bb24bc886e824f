// The runbooks of the target namespaces: notes of their owners, which an agent gets with its task. A
// person reads in the audit log which text an agent had, and by which client it was last written.

import { createHash } from 'node:crypto';
import * as z from 'zod';
import { RUNBOOK_CONFIG_MAP } from '../../../api/group.ts';
import { errorMessage } from '../../../errors.ts';
import type { KubeClient } from '../../../kube/client.ts';
import { isForbidden, isNotFound } from '../../../kube/errors.ts';
import { CONFIG_MAPS } from '../../../kube/resources.ts';
import type { Lease } from '../../leases.ts';
import type { Task } from '../../protocol.ts';
import { type GatewayContext, record } from '../door.ts';

type Services = Pick<GatewayContext, 'log' | 'metrics' | 'attemptTokens' | 'logger'>;
type Runbook = Task['runbooks'][number];

/** The maximum length of one namespace's runbook, in characters. */
const RUNBOOK_LIMIT = 16_384;

const configMap = z.looseObject({
  metadata: z.looseObject({
    managedFields: z.array(z.looseObject({ manager: z.string().default(''), time: z.string().nullish() })).default([]),
  }),
  data: z.record(z.string(), z.string()).default({}),
});

/**
 * The runbooks that the class gives to an attempt, read with the attempt's own token, so that it
 * gets only those that it may read, and records which it got. An agent works without those that
 * cannot be read.
 */
export async function readRunbooks(
  gateway: Services,
  client: Pick<KubeClient, 'withToken'>,
  lease: Lease,
): Promise<Runbook[]> {
  const { targetNamespaces } = lease;
  const { runbooks: wanted = 'SingleTarget' } = lease.class;
  if (wanted === 'Never') return [];
  const own = client.withToken(() => gateway.attemptTokens.token(lease));
  const found = (await Promise.all(targetNamespaces.map((namespace) => readRunbook(gateway, own, namespace)))).flat();
  // Whoever writes the notes of one namespace would advise an agent that has rights in another.
  const isWithheld = wanted === 'SingleTarget' && targetNamespaces.length > 1;
  for (const runbook of found) await recordRunbook(gateway, lease, runbook, isWithheld);
  return isWithheld ? [] : found;
}

async function readRunbook(
  { logger }: Pick<GatewayContext, 'logger'>,
  own: Pick<KubeClient, 'get'>,
  namespace: string,
): Promise<Runbook[]> {
  try {
    const object = configMap.parse(await own.get(CONFIG_MAPS, { namespace, name: RUNBOOK_CONFIG_MAP }));
    const parts = Object.entries(object.data).map(([name, text]) => `## ${name}\n${text.trim()}`);
    const text = parts.join('\n\n').slice(0, RUNBOOK_LIMIT);
    if (text === '') return [];
    const time = (entry: { time?: string | null | undefined }) => entry.time ?? '';
    const last = object.metadata.managedFields.toSorted((one, other) => (time(one) < time(other) ? 1 : -1))[0];
    return [{ namespace, text, writer: last?.manager || 'unknown', writeTime: last?.time ?? null }];
  } catch (error) {
    // Most namespaces have no runbook.
    const isUsual = isNotFound(error) || isForbidden(error);
    logger[isUsual ? 'debug' : 'warn']({ namespace, error: errorMessage(error) }, 'no runbook');
    return [];
  }
}

async function recordRunbook(
  gateway: Services,
  lease: Lease,
  { namespace, text, writer, writeTime }: Runbook,
  isWithheld: boolean,
): Promise<void> {
  const sha256 = createHash('sha256').update(text).digest('hex');
  const written = `last written by ${writer}${writeTime === null ? '' : ` at ${writeTime}`}`;
  const fate = isWithheld
    ? 'not given to the agent, as the Incident has several targets (spec.runbooks of its AgentClass)'
    : 'given to the agent';
  await record(gateway, lease, 'gateway', {
    // A runbook that changes between two requests for the task is another entry.
    clientKey: `runbook:${lease.attempt}:${namespace}:${sha256.slice(0, 16)}`,
    kind: 'lifecycle',
    params: { event: 'runbook', attempt: lease.attempt, namespace, writer, writeTime, sha256, given: !isWithheld },
    content: `runbook of namespace ${namespace}, ${written}: ${fate}`,
    ...(isWithheld ? {} : { blob: text }),
  });
}
