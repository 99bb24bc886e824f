// The whole path of a question to the model, without a cluster: the agent's process with its SDK and
// its loop, the gateway's doors with budget, meter and log, and a model API of the test.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import * as z from 'zod';
import { runAttempt } from '../../src/agent/process.ts';
import type { Sandbox } from '../../src/agent/sandbox-client.ts';
import { DEFAULT_MODEL, DEFAULT_SUMMARY_MODEL } from '../../src/api/agent-class.ts';
import type { AgentReport } from '../../src/api/agent-report.ts';
import { DEFAULT_CEILINGS, type Limits } from '../../src/api/limits.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { Redactor } from '../../src/audit/redaction.ts';
import type { AuditStore } from '../../src/audit/store.ts';
import { BodyMemory } from '../../src/gateway/body-memory.ts';
import { Budgets } from '../../src/gateway/budget.ts';
import { Concurrency } from '../../src/gateway/concurrency.ts';
import { agentPort } from '../../src/gateway/doors/agent-port.ts';
import type { GatewayContext } from '../../src/gateway/doors/door.ts';
import { Connections } from '../../src/gateway/doors/model/connections.ts';
import { AnthropicProvider } from '../../src/gateway/doors/model/providers/anthropic.ts';
import { keyFile } from '../../src/gateway/doors/model/providers/credential.ts';
import { type ModelAPI, ModelUpstream } from '../../src/gateway/doors/model/upstream.ts';
import { InFlight } from '../../src/gateway/in-flight.ts';
import { createGatewayMetrics } from '../../src/gateway/metrics.ts';
import type { ModelTrouble } from '../../src/gateway/model-troubles.ts';
import { pricesWith } from '../../src/gateway/prices.ts';
import { type Conclusion, conclusion, paths, type Task } from '../../src/gateway/protocol.ts';
import { modelRules } from '../../src/messages-double/model-rules.ts';
import { judgeBody, judgeHeaders } from '../../src/messages-double/validate.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import { anExit, closed } from './attempt-harness.ts';
import { fakeTask } from './fake-gateway.ts';
import { MODEL_KEY } from './fake-model-api.ts';
import { openLogInThisThread } from './log-in-this-thread.ts';
import { silentLogger } from './silent-logger.ts';

/** What the model API does with a question of the agent's model. */
export type UpstreamReply = (response: ServerResponse) => void | Promise<void>;

/** What is read of a request. */
const question = z.looseObject({
  model: z.string(),
  max_tokens: z.number(),
  thinking: z.looseObject({ type: z.string() }).optional(),
  messages: z.array(
    z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]) }),
  ),
});
export type AskedQuestion = z.infer<typeof question>;

export interface ChainOptions {
  /** In order; the last is repeated. */
  readonly replies?: readonly UpstreamReply[];
  /** What is wrong, for the model. */
  readonly incident?: Pick<Task['incident'], 'summary' | 'description'>;
  readonly model?: Partial<Task['model']>;
  readonly limits?: Partial<Limits>;
  readonly deadlineMs?: number;
  /** The gateway's way to the model API of the test, for example through a double. Default: with a key. */
  readonly connect?: (modelURL: string) => ModelAPI | Promise<ModelAPI>;
  /** Prices besides the built-in ones. */
  readonly prices?: unknown;
  /** What a command prints. */
  readonly output?: (command: string) => string;
}

export interface ChainResult {
  /** The requests for the agent's model, as the model API got them. */
  readonly asked: readonly AskedQuestion[];
  /** What the real API would have refused of all that it was asked: nothing. */
  readonly refusals: readonly string[];
  /** Their headers. */
  readonly headers: readonly IncomingMessage['headers'][];
  readonly commands: readonly string[];
  readonly conclusions: readonly Conclusion[];
  /** Why the attempt ended without a claim. */
  readonly report: AgentReport | undefined;
  readonly exitCode: number;
  readonly entries: readonly Entry[];
  /** What the gateway charged for each question of the agent's model. */
  readonly charges: readonly z.infer<typeof charge>[];
  /** What was wrong after each question, for the Incident's status. */
  readonly troubles: readonly (ModelTrouble['reason'] | 'none')[];
}

const charge = z.object({
  inputTokens: z.number().default(0),
  outputTokens: z.number().default(0),
  cacheReadTokens: z.number().default(0),
  cacheWriteTokens: z.number().default(0),
  costMicroUSD: z.number().default(0),
  turn: z.boolean().default(false),
});

/** What the gateway knows to be secret. */
const redactor = new Redactor([MODEL_KEY]);

const session = '11111111-2222-3333-4444-555555555555';

/** Runs one attempt against a model API that answers with these replies. */
export async function runModelChain(options: ChainOptions): Promise<ChainResult> {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-chain-'));
  const tokenFile = path.join(dir, 'token');
  const apiKey = path.join(dir, 'api-key');
  await writeFile(tokenFile, 'agent-token\n');
  await writeFile(apiKey, `${MODEL_KEY}\n`);
  const log = await openLogInThisThread({ path: path.join(dir, 'audit.db') });
  const upstream = await startUpstream(options.replies ?? []);
  const deadline = Date.now() + (options.deadlineMs ?? 30_000);
  const { incident } = fakeTask();
  const task = fakeTask({
    session,
    incident: { ...incident, ...options.incident },
    deadline: new Date(deadline).toISOString(),
    model: { name: DEFAULT_MODEL, summaryName: DEFAULT_SUMMARY_MODEL, maxOutputTokens: 16_000, ...options.model },
  });
  const connect = options.connect ?? ((url) => withKey(url, apiKey));
  const gateway = await startDoors({ log, task, deadline, upstream: await connect(upstream.url), options });
  const commands: string[] = [];
  const reports: AgentReport[] = [];
  const sandbox: Sandbox = {
    ready: async () => undefined,
    end: async () => 'unknown',
    isolation: async () => closed,
    exec: async ({ command }, onEvent) => {
      commands.push(command);
      onEvent({ type: 'started', time: new Date().toISOString() });
      return anExit(options.output?.(command) ?? `output of ${command}\n`);
    },
  };
  try {
    const exitCode = await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox,
      logger: silentLogger(),
      signal: AbortSignal.timeout(60_000),
      leaveReport: async (report) => void reports.push(report),
    });
    const entries = await log.read(session, { limit: 1000 });
    const charges = entries
      .filter(({ kind, tool }) => kind === 'model_call' && tool !== task.model.summaryName)
      .map(({ params }) => charge.parse(params));
    return {
      ...{
        asked: upstream.asked,
        refusals: upstream.refusals,
        headers: upstream.headers,
        commands,
        conclusions: gateway.conclusions,
      },
      ...{ report: reports.at(-1), exitCode, entries, charges, troubles: gateway.troubles },
    };
  } finally {
    await stop(gateway.server);
    await stop(upstream.server);
    await log.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function start(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return `http://127.0.0.1:${address.port}`;
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** Why the API would refuse a request. */
function findRefusal(headers: IncomingMessage['headers'], body: string): string | undefined {
  const version = judgeHeaders(headers, {});
  if (!version.ok) return version.error.message;
  const judged = judgeBody(JSON.parse(body), version.value, { rulesOf: modelRules, account: undefined });
  return judged.ok ? undefined : judged.error.message;
}

async function startUpstream(replies: readonly UpstreamReply[]) {
  const asked: AskedQuestion[] = [];
  const headers: IncomingMessage['headers'][] = [];
  const refusals: string[] = [];
  const server = createServer((request, response) => {
    void text(request).then(async (body) => {
      const refusal = findRefusal(request.headers, body);
      if (refusal !== undefined) refusals.push(refusal);
      const parsed = question.parse(JSON.parse(body));
      // The small model has no tools.
      if (!('tools' in parsed)) {
        response.writeHead(500, { 'content-type': 'application/json', 'x-should-retry': 'false' }).end('{}');
        return;
      }
      asked.push(parsed);
      headers.push(request.headers);
      await (replies[asked.length - 1] ?? replies.at(-1))?.(response);
    });
  });
  return { url: await start(server), server, asked, headers, refusals };
}

function withKey(url: string, file: string): ModelAPI {
  const provider = new AnthropicProvider(
    keyFile(file, () => undefined),
    'x-api-key',
  );
  return new ModelUpstream({ baseURL: new URL(url), provider, connections: new Connections({ environment: {} }) });
}

interface DoorsOptions {
  readonly log: AuditStore;
  readonly task: Task;
  readonly deadline: number;
  readonly upstream: ModelAPI;
  readonly options: ChainOptions;
}

/** The agents' port, for one lease that is good until the deadline. */
async function startDoors({ log, task, deadline, upstream, options }: DoorsOptions) {
  const conclusions: Conclusion[] = [];
  const troubles: (ModelTrouble['reason'] | 'none')[] = [];
  const { name, summaryName, maxOutputTokens, ...modelOptions } = task.model;
  const lease = {
    ...{ session, attempt: 1, podName: 'pod', podUID: 'uid', serviceAccountName: 'agent', deadline },
    incident: { namespace: 'oplab', name: 'incident', uid: session },
    targetNamespaces: task.targetNamespaces,
    limits: { ...DEFAULT_CEILINGS, ...options.limits },
    class: {
      ...{ name: 'default', generation: 1, mode: 'Repair' as const },
      ...{ model: name, summaryModel: summaryName, maxOutputTokens, modelOptions },
    },
  };
  const identity = { podUID: 'uid', podName: 'pod', serviceAccount: 'agent', audience: 'test' };
  const context: Partial<Record<keyof GatewayContext, unknown>> = {
    log,
    identities: { prove: async () => identity },
    leases: {
      attempts: () => [{ session, attempt: 1 }],
      decide: () => ({ state: 'live', lease }),
      hold: () => ({ alive: () => true, release: () => undefined }),
    },
    budgets: new Budgets(log),
    dayQuota: { reserve: async () => ({ release: () => undefined }) },
    quotaClass: () => ({ name: 'default', limits: {} }),
    status: { touch: () => undefined },
    modelTroubles: {
      note: (_session: string, { reason }: ModelTrouble) => void troubles.push(reason),
      clear: () => void troubles.push('none'),
    } satisfies GatewayContext['modelTroubles'],
    tripwires: { findToken: () => undefined },
    live: { publish: () => undefined },
    redact: (words: string) => redactor.text(words),
    inFlight: new InFlight(),
    conversations: { begin: async () => undefined, read: async () => [], append: async () => undefined },
    commands: { latest: async () => undefined, ended: async () => undefined },
    memory: new BodyMemory({ total: 2 ** 28, share: 2 ** 27, alone: 2 ** 26 }),
    metrics: createGatewayMetrics(createRegistry('chain')),
    logger: silentLogger(),
  };
  const gateway = context as unknown as GatewayContext;
  const listener = agentPort(gateway, {
    audience: 'test',
    client: { withToken: () => Promise.reject(new Error('there is no API server')) } as never,
    concurrency: new Concurrency(32),
    model: {
      upstream,
      reservations: { reserve: async () => undefined },
      isSettled: () => true,
      prices: pricesWith(options.prices),
      concurrency: new Concurrency(8),
    },
  });
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const reply = (body: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    // These two need an API server.
    if (request.url === paths.task) return reply(task);
    if (request.url === paths.conclude) {
      void text(request).then((body) => {
        conclusions.push(conclusion.parse(JSON.parse(body)));
        reply({});
      });
      return;
    }
    listener(request, response);
  });
  return { url: await start(server), server, conclusions, troubles };
}
