// All that the gateway knows of each session, connected: what it has used and changed, what ends
// its leases, and where that is recorded and shown.

import path from 'node:path';
import { CONDITIONS } from '../api/incident.ts';
import { findCondition, isTrue } from '../api/meta.ts';
import type { Entry } from '../audit/entry.ts';
import { resultParams } from '../audit/entry-params.ts';
import { isSeal } from '../audit/hash-chain.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { INCIDENTS } from '../kube/resources.ts';
import { AbandonedCalls } from './abandoned-calls.ts';
import { Budgets } from './budget.ts';
import { ChangeBook } from './changes.ts';
import { Conversations } from './conversations.ts';
import { InFlight } from './in-flight.ts';
import { LeaseRegistry } from './lease-registry.ts';
import { isAttemptOpen } from './leases.ts';
import { LifecycleRecorder } from './lifecycle-recorder.ts';
import { LiveOutput } from './live-output.ts';
import { ModelTroubles } from './model-troubles.ts';
import { createSessionGuards, type SessionGuards, type SessionGuardsOptions } from './session-guards.ts';
import { describeUnexplained } from './status-document.ts';
import { StatusWriter } from './status-writer.ts';
import { TokenBucket } from './token-bucket.ts';

export interface SessionsOptions extends Omit<SessionGuardsOptions, 'targets'> {
  /** The secret that protects the conversations. */
  readonly secret: Buffer;
}

export interface Sessions extends SessionGuards {
  readonly budgets: Budgets;
  readonly inFlight: InFlight;
  readonly live: LiveOutput;
  readonly leases: LeaseRegistry;
  readonly status: StatusWriter;
  readonly modelTroubles: ModelTroubles;
  readonly abandoned: AbandonedCalls;
  readonly lifecycle: LifecycleRecorder;
  readonly conversations: Conversations;
  /** Applies an entry that was just appended. */
  appended(entry: Entry): void;
  /** Forgets the session of a deleted Incident. */
  forget(session: string): void;
}

/** @throws if the key of the tripwires cannot be read */
export async function createSessions(options: SessionsOptions): Promise<Sessions> {
  const { environment, client, log, metrics, logger, signal } = options;
  const budgets = new Budgets(log);
  const changes = new ChangeBook(log);
  const inFlight = new InFlight();
  const live = new LiveOutput((text) => log.redact(text));
  const guards = await createSessionGuards({ ...options, targets: () => ({ leases, status }) });
  const { guard, commands, tripwires, signer } = guards;
  const leases = createLeases(options, guards, budgets);
  const modelTroubles = new ModelTroubles((session) => status.touch(session));
  const status: StatusWriter = new StatusWriter({
    client,
    log,
    budgets,
    changes,
    commands,
    guard,
    tripwires,
    modelTroubles,
    logFailure: () => log.failureDetails,
    incident: (session) => leases.incident(session),
    bucket: new TokenBucket(environment.OPLAB_STATUS_WRITES_PER_SECOND),
    logger,
    onWrite: (result) => metrics.statusWrites.inc({ result }),
    signal,
  });
  const abandoned = new AbandonedCalls({
    log,
    broken: guards.brokenReason,
    onRecord: (session) => {
      budgets.forget(session);
      status.touch(session);
    },
    logger,
    signal,
  });
  const conversations = new Conversations({
    directory: path.join(environment.OPLAB_DATA_DIR, 'conversations'),
    secret: options.secret,
    isOpen: ({ session, attempt }) => isAttemptOpen(leases.incident(session), attempt),
    logger,
  });
  const lifecycle = new LifecycleRecorder({
    log,
    inFlight,
    checkAnchor: (incident) => guard.check(incident),
    brokenReason: guards.brokenReason,
    incident: (session) => leases.incident(session),
    isGone: (incident) => isGone(client, incident),
    onRecord: (session, urgent) => status.touch(session, urgent),
    logger,
    signal,
  });
  return {
    ...guards,
    budgets,
    inFlight,
    live,
    leases,
    status,
    modelTroubles,
    abandoned,
    lifecycle,
    conversations,
    appended(entry) {
      commands.appended(entry);
      const { call } = resultParams.safeParse(entry.params).data ?? {};
      if (entry.kind === 'tool_result' && call !== undefined) live.end(entry.session, call);
      if (isSeal(entry)) {
        live.forget(entry.session);
        void conversations.drop(entry.session);
      }
      status.touch(entry.session);
      signer.appended(entry);
    },
    forget(session) {
      void conversations.drop(session);
      for (const part of [budgets, changes, commands, guard, tripwires, modelTroubles, live]) part.forget(session);
    },
  };
}

function createLeases({ metrics, signal }: SessionsOptions, guards: SessionGuards, budgets: Budgets): LeaseRegistry {
  return new LeaseRegistry({
    limitReached: (session) => budgets.limitReached(session),
    auditBroken: guards.brokenReason,
    unexplained: (session) => {
      const write = guards.commands.knownUnexplained(session);
      return write === undefined ? undefined : describeUnexplained(write);
    },
    tripwireTouched: (session) => guards.tripwires.touched(session),
    onCut: () => metrics.streamsCut.inc(),
    signal,
  });
}

async function isGone(
  client: KubeClient,
  { namespace, name, uid }: { namespace: string; name: string; uid: string },
): Promise<boolean> {
  try {
    return (await client.get(INCIDENTS, { namespace, name })).metadata.uid !== uid;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}

/** Learns from log and status what earlier gateways found out, before anything is added to the log. */
export async function resumeSessions(sessions: Sessions): Promise<void> {
  const { leases, tripwires, guard, commands, status, abandoned, conversations } = sessions;
  for (const incident of leases.incidents()) {
    const { conditions } = incident.status ?? {};
    if (isTrue(conditions, CONDITIONS.Finished)) continue;
    await tripwires.load(incident);
    const broken = await guard.check(incident);
    // A write without explanation may have been recorded just before an earlier gateway stopped.
    if (broken === undefined) await commands.unexplained(incident.metadata.uid);
    // The log was put back, or can be written again: the next write removes the condition.
    const troubles = [CONDITIONS.AuditIntact, CONDITIONS.AuditWritable];
    if (broken === undefined && troubles.some((type) => findCondition(conditions, type) !== undefined)) {
      status.touch(incident.metadata.uid, true);
    }
  }
  await conversations.start();
  // A log that was set back would otherwise be continued before that is seen.
  await abandoned.settle();
}
