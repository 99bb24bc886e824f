// An attempt against a scripted model, a fake gateway and a fake sandbox.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';
import type { AgentEvent } from '../../src/agent/events.ts';
import { runAttempt } from '../../src/agent/process.ts';
import type { Sandbox } from '../../src/agent/sandbox-client.ts';
import type { AgentReport } from '../../src/api/agent-report.ts';
import type { Task } from '../../src/gateway/protocol.ts';
import type { ExecExit, IsolationReport } from '../../src/sandbox/protocol.ts';
import { type FakeGateway, type FakeGatewayOptions, type Fault, fakeTask, startFakeGateway } from './fake-gateway.ts';
import { silentLogger } from './silent-logger.ts';

export type Content = { type: string; [key: string]: unknown };
/** One scripted answer of the model. */
export type Reply = { content: Content[]; stop?: Anthropic.StopReason } | ((response: ServerResponse) => unknown);

let calls = 0;
export const shell = (command: string, more: Record<string, unknown> = {}): Content => ({
  type: 'tool_use',
  id: `toolu_${++calls}`,
  name: 'shell',
  input: { command, purpose: `because ${command}`, ...more },
});
export const conclude = (outcome = 'fixed', more: Record<string, unknown> = {}): Content => ({
  type: 'tool_use',
  id: `toolu_${++calls}`,
  name: 'conclude',
  input: { outcome, summary: 'done', root_cause: 'a cause', actions: ['an action'], ...more },
});
export const text = (words: string): Content => ({ type: 'text', text: words });

/** The first event of an answer. */
export const messageStart = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'scripted',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 1 },
  },
};

export function events(content: readonly Content[], stop: string): string[] {
  const blocks = content.flatMap((block, index) => {
    const start = block.type === 'tool_use' ? { ...block, input: {} } : block;
    const json = JSON.stringify(block.input ?? {});
    const deltas =
      block.type === 'tool_use'
        ? [json.slice(0, 7), json.slice(7)].map((partial_json) => ({
            type: 'content_block_delta',
            index,
            delta: { type: 'input_json_delta', partial_json },
          }))
        : [];
    return [
      { type: 'content_block_start', index, content_block: start },
      ...deltas,
      { type: 'content_block_stop', index },
    ];
  });
  const all: { type: string }[] = [
    messageStart,
    ...blocks,
    { type: 'message_delta', ...{ delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 5 } } },
    { type: 'message_stop' },
  ];
  return all.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

export function send(response: ServerResponse, reply: Reply): void {
  if (typeof reply === 'function') {
    reply(response);
    return;
  }
  const stop = reply.stop ?? (reply.content.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn');
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(events(reply.content, stop).join(''));
}

export const apiError =
  (status: number, type: string, headers: Record<string, string> = {}): Reply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'false', ...headers });
    response.end(JSON.stringify({ type: 'error', error: { type, message: `${type} for a test` } }));
  };

export const anExit = (stdout: string, changes: Partial<ExecExit> = {}): ExecExit => ({
  type: 'exit',
  exitCode: 0,
  signal: null,
  timedOut: false,
  durationMs: 12,
  stdout,
  stderr: '',
  truncated: false,
  hiddenCharacters: 0,
  killedProcesses: 0,
  leftBehind: [],
  ...changes,
});
export const closed: IsolationReport = {
  probes: [{ name: 'api-server', address: '10.0.0.1:443', open: false, allowed: false, expected: '', detail: '' }],
  closed: true,
  waitedMs: 3,
};

interface Options {
  readonly replies: readonly Reply[];
  readonly task?: Partial<Task>;
  readonly fault?: Fault;
  /** Called with the file of the agent's token when a command runs. */
  readonly exec?: (...args: [...Parameters<Sandbox['exec']>, tokenFile: string]) => ReturnType<Sandbox['exec']>;
  readonly isolation?: IsolationReport;
  readonly start?: FakeGatewayOptions['start'];
  /** Answers the small model. Default: an error. */
  readonly small?: Reply;
  readonly signal?: AbortSignal;
  /** Called with the gateway before the attempt. */
  readonly onGateway?: (gateway: FakeGateway) => void;
}

export async function attempt(options: Options) {
  // Not in a hook: files that share a worker share this module, and only the first would have it.
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-attempt-'));
  const tokenFile = path.join(directory, 'token');
  await writeFile(tokenFile, 'first-token\n');
  const started: { command: string; at: number }[] = [];
  const seen: AgentEvent[] = [];
  const reports: AgentReport[] = [];
  const sandbox: Sandbox = {
    ready: async () => undefined,
    end: async () => 'unknown',
    isolation: async () => options.isolation ?? closed,
    exec: async (command, onEvent, signal) => {
      started.push({ command: command.command, at: Date.now() });
      onEvent({ type: 'started', time: new Date().toISOString() });
      onEvent({ type: 'chunk', stream: 'stdout', text: 'live' });
      if (options.exec !== undefined) return options.exec(command, onEvent, signal, tokenFile);
      return anExit(`output of ${command.command}\n`);
    },
  };
  const gateway = await startFakeGateway({
    task: fakeTask({ model: { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000 }, ...options.task }),
    messages: (body, response, count) => {
      const small = z.looseObject({ model: z.literal('small') }).safeParse(body).success;
      if (small) return send(response, options.small ?? apiError(500, 'api_error'));
      const asked = gateway.bodies.filter(
        (it) => !z.looseObject({ model: z.literal('small') }).safeParse(it).success,
      ).length;
      send(response, options.replies[asked - 1] ?? { content: [text(`nothing scripted for call ${count}`)] });
    },
    ...(options.fault === undefined ? {} : { fault: options.fault }),
    ...(options.start === undefined ? {} : { start: options.start }),
  });
  options.onGateway?.(gateway);
  try {
    const code = await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox,
      logger: silentLogger(),
      signal: options.signal ?? AbortSignal.timeout(30_000),
      onEvent: (event) => seen.push(event),
      leaveReport: async (report) => void reports.push(report),
    });
    return { code, gateway, started, seen, reports, end: seen.findLast((event) => event.type === 'ended') };
  } finally {
    await gateway.close();
    await rm(directory, { recursive: true, force: true });
  }
}

export const kinds = (gateway: FakeGateway) => gateway.entries.map((entry) => entry.kind);
export const modelRequest = (gateway: FakeGateway, index: number) =>
  z
    .looseObject({
      messages: z.array(z.object({ role: z.string(), content: z.array(z.looseObject({ type: z.string() })) })),
    })
    .parse(gateway.bodies[index]);
