// The process `oplab agent`: runs one attempt, from fetching the task to the claim.

import { writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { type AgentReport, formatAgentReport, type ModelRefusal } from '../api/agent-report.ts';
import { CONTAINER_PROBES } from '../api/isolation.ts';
import { Redactor } from '../audit/redaction.ts';
import { parseEnvironment } from '../environment.ts';
import { errorMessage } from '../errors.ts';
import { createLogger, type Logger } from '../observability/logger.ts';
import { type IsolationReport, SOCKET_PATH } from '../sandbox/protocol.ts';
import { createAuditTrail } from './audit-trail.ts';
import { createConcludeTool } from './conclude.ts';
import { trimLimits } from './context.ts';
import type { AgentEvent, LoopEnd } from './events.ts';
import { bearer, GatewayClient, isLeaseOver } from './gateway-client.ts';
import { createJournal } from './journal.ts';
import { createLiveOutput } from './live-output.ts';
import { initialState, runLoop } from './loop.ts';
import { readState } from './loop-state.ts';
import { createModel } from './model.ts';
import { openingMessage, systemPrompt } from './prompt.ts';
import { createSandbox, type Sandbox } from './sandbox-client.ts';
import { createShellTool } from './shell.ts';
import { createSummaries } from './summary.ts';

/** The sandbox can reach addresses that must be closed, so no command was run. */
export const EXIT_NOT_ISOLATED = 3;
/** Where the kubelet looks for the termination message. */
const TERMINATION_LOG = '/dev/termination-log';
/** The time for writing the last entry, in milliseconds, because the signal may have aborted. */
const LAST_WORDS_MS = 3000;

const environment = z.object({
  OPLAB_GATEWAY_URL: z.url(),
  OPLAB_TOKEN_FILE: z.string().default('/var/run/secrets/oplab/token'),
  OPLAB_SOCKET: z.string().default(SOCKET_PATH),
  /** Set by the supervisor. */
  OPLAB_AGENT_RESTARTS: z.coerce.number().int().min(0).default(0),
});

/** Where an attempt runs. Everything about the Incident comes from the gateway. */
export interface AttemptOptions {
  readonly gatewayUrl: string;
  readonly tokenFile: string;
  readonly sandbox: Sandbox;
  readonly logger: Logger;
  /** Aborts on SIGTERM. */
  readonly signal: AbortSignal;
  /** How often it was started again in its container, as far as that is known. */
  readonly restarts?: number;
  /** Keeps why the attempt ended without a claim, for the controller. */
  readonly leaveReport: (report: AgentReport) => Promise<void>;
  readonly onEvent?: (event: AgentEvent) => void;
}

/** Runs one attempt and returns the exit code of the process. */
export async function runAttempt(options: AttemptOptions): Promise<number> {
  const { logger } = options;
  const client = new GatewayClient({
    url: options.gatewayUrl,
    tokenFile: options.tokenFile,
    onRetry: (what, reason) => logger.warn({ what, reason }, 'waiting for the gateway'),
  });
  const report = (event: AgentEvent) => {
    logger.info(withoutContent(event), event.type);
    options.onEvent?.(event);
  };
  const task = await client.task(options.signal);
  const started = await client.start(options.restarts ?? 0, options.signal);
  logger.info({ session: task.session, attempt: task.attempt, model: task.model.name, mode: task.mode }, 'task');

  // The deadline also ends waiting for a gateway or a model that does not come back.
  const over = new AbortController();
  // By the gateway's clock alone: that of this node may be minutes away.
  const deadline = AbortSignal.timeout(Math.max(0, Date.parse(task.deadline) - Date.parse(task.now)));
  const signal = AbortSignal.any([options.signal, deadline, over.signal]);
  const lifecycle = (key: string, content: string, params: z.core.util.JSONType, until: AbortSignal) =>
    client.append({ clientKey: `${task.attempt}-${key}`, kind: 'lifecycle', content, params }, until);

  try {
    if (started.givenUp !== undefined) return await endWithout({ reason: 'interrupted', message: started.givenUp });
    const known = started.alreadyStarted ? await readKept() : undefined;
    if (known === undefined && started.nextKey > 1) {
      return await endWithout({
        reason: 'interrupted',
        message: 'the agent was restarted, and its conversation is not kept. A call without a result is indeterminate',
      });
    }
    if (known === undefined) {
      const isolation = await options.sandbox.isolation(signal);
      const content = describeIsolation(isolation);
      const key = started.restarts === 0 ? 'isolation' : `isolation-${started.restarts}`;
      await lifecycle(key, content, { step: 'isolation', ...isolation }, signal);
      report({ type: 'isolation', report: isolation });
      // The container is started once more, because a network policy may be late.
      if (!isolation.closed && started.restarts === 0) return EXIT_NOT_ISOLATED;
      if (!isolation.closed) return await endWithout({ reason: 'interrupted', message: content });
    } else report({ type: 'resumed', restarts: started.restarts, turn: known.state.turn });

    const end = await work(known, signal);
    return end.reason === 'concluded' ? 0 : await endWithout(end);
  } catch (error) {
    // The gateway knows why the lease is over, and the controller ends the attempt, so the
    // container must not restart.
    if (signal.aborted || isLeaseOver(error)) {
      logger.warn({ reason: errorMessage(signal.aborted ? signal.reason : error) }, 'attempt over');
      return 0;
    }
    throw error;
  }

  /** What an earlier process has kept; undefined if it did not come so far. */
  async function readKept() {
    const records = await client.conversation(signal);
    try {
      const state = readState(records);
      return state === undefined ? undefined : { state, records: records.length };
    } catch (error) {
      logger.warn({ reason: errorMessage(error) }, 'the kept conversation is not readable');
      return undefined;
    }
  }

  /** Leaves the reason for the controller and in the log. */
  async function endWithout(end: Exclude<LoopEnd, { reason: 'concluded' }>): Promise<number> {
    const code = 'code' in end ? { code: end.code } : {};
    // What a model API says may repeat what it was sent. The gateway redacts only what comes through it.
    const message = redactor.text(describeEnd(end));
    await options
      .leaveReport({ ...code, message, ...('refusal' in end ? { refusal: redactRefusal(end.refusal) } : {}) })
      .catch((error: unknown) => logger.warn({ reason: errorMessage(error) }, 'no termination message'));
    const content = `The attempt ended without a claim: ${message}`;
    const params = { step: 'agent_ended', reason: end.reason, ...code };
    await lifecycle('end', content, params, AbortSignal.timeout(LAST_WORDS_MS)).catch((error: unknown) =>
      logger.warn({ reason: errorMessage(error) }, 'the last entry could not be written'),
    );
    return 0;
  }

  async function work(known: Awaited<ReturnType<typeof readKept>>, until: AbortSignal): Promise<LoopEnd> {
    const model = createModel({
      gatewayUrl: options.gatewayUrl,
      authorization: () => bearer(options.tokenFile),
      models: task.model,
      onRetry: (reason) => logger.warn({ reason: redactor.text(reason) }, 'waiting for the model'),
    });
    const live = createLiveOutput(
      (chunk) => client.live(chunk, until),
      (error) => over.abort(error),
    );
    const reportEnd = async (callKey: string, stop: AbortSignal) => {
      try {
        await client.commandEnded(callKey, stop);
      } catch (error) {
        if (stop.aborted || isLeaseOver(error)) throw error;
        // The entry of the result says the same, only later.
        logger.warn({ reason: errorMessage(error) }, 'the end of a command could not be reported');
      }
    };
    const within = (stop?: AbortSignal) => (stop === undefined ? until : AbortSignal.any([stop, until]));
    const tools = [
      createShellTool(options.sandbox, { live, ended: reportEnd }),
      createConcludeTool(task.mode, (conclusion, stop) => client.conclude(conclusion, stop)),
    ];
    const prompt = { system: systemPrompt(task), opening: openingMessage(task) };
    const loop = runLoop({
      model,
      tools,
      audit: createAuditTrail(task.attempt, (entry, stop) => client.append(entry, within(stop)), started.nextKey),
      journal: createJournal({
        send: (record, place) => client.keep(record, place, until),
        known,
        onLost: (reason) => logger.warn({ reason }, 'the conversation is not kept any more'),
      }),
      state: known?.state ?? initialState(prompt, tools, model.state),
      summaries: createSummaries((text, stop) => model.summarize(text, within(stop))),
      trimLimits: trimLimits(task.model.name, task.model.contextWindow),
      signal: until,
    });
    for (;;) {
      const step = await loop.next();
      if (step.done === true) return step.value;
      report(step.value);
    }
  }
}

/**
 * An event for the pod's log, without command output: the trail is redacted, but the log is not.
 */
function withoutContent(event: AgentEvent): object {
  if (event.type === 'ended' && 'message' in event.end) {
    return { ...event, end: { ...event.end, message: redactor.text(event.end.message) } };
  }
  if (event.type === 'fallback') return { ...event, reason: redactor.text(event.reason) };
  if (event.type !== 'tool-result') return event;
  const { summary: _, ...rest } = event;
  return rest;
}

function describeIsolation({ probes, closed }: IsolationReport): string {
  const list = (found: IsolationReport['probes']) =>
    found.map(({ name, address }) => `${name} (${address})`).join(', ');
  const open = probes.filter((probe) => probe.open);
  if (closed) return `The sandbox is isolated${open.length === 0 ? '' : `; open, but allowed: ${list(open)}`}.`;
  const holes = open.filter((probe) => !probe.allowed);
  const isOfContainer = ({ name }: { name: string }) => Object.hasOwn(CONTAINER_PROBES, name);
  const reached = holes.filter((probe) => !isOfContainer(probe));
  const held = holes.filter(isOfContainer);
  const what = [
    ...(reached.length === 0 ? [] : [`it can reach ${list(reached)}`]),
    ...(held.length === 0 ? [] : [`it has ${list(held)}`]),
  ];
  const fix = 'To run agents all the same, name the holes in spec.isolation.allowHoles of the AgentClass';
  return `The sandbox is not isolated: ${what.join('; ')}. No commands are run. ${fix}.`;
}

/** Recognizes secrets by their form alone: the agent knows none. */
const redactor = new Redactor();

function redactRefusal(refusal: ModelRefusal): ModelRefusal {
  const { category, requestID } = refusal;
  return {
    ...refusal,
    ...(category === undefined ? {} : { category: redactor.text(category) }),
    ...(requestID === undefined ? {} : { requestID: redactor.text(requestID) }),
  };
}

function describeEnd(end: LoopEnd): string {
  if (end.reason === 'silent') return 'the model stopped calling tools, despite three reminders';
  return 'message' in end ? end.message : end.reason;
}

/**
 * The agent container's process. Sets the exit code: 0 if the attempt is over in any way, 3 if the
 * sandbox is not isolated.
 */
export async function runAgent(): Promise<void> {
  const env = parseEnvironment(environment);
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    // Not once: it may be sent again, and must not end the process before its last words.
    process.on(name, () => stop.abort(new Error(`the pod is being stopped (${name})`)));
  }
  process.exitCode = await runAttempt({
    gatewayUrl: env.OPLAB_GATEWAY_URL,
    tokenFile: env.OPLAB_TOKEN_FILE,
    sandbox: createSandbox(env.OPLAB_SOCKET),
    logger: createLogger('agent'),
    signal: stop.signal,
    restarts: env.OPLAB_AGENT_RESTARTS,
    leaveReport: (report) => writeFile(TERMINATION_LOG, formatAgentReport(report)),
  });
}
