// An attempt against a scripted model: order of the record, what is retried, what ends it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Anthropic from '@anthropic-ai/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type FakeGateway, type Fault, fakeTask, refuse, startFakeGateway } from '../../test/support/fake-gateway.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { paths, type Task } from '../gateway/protocol.ts';
import type { ExecExit, IsolationReport } from '../sandbox/protocol.ts';
import type { AgentEvent } from './events.ts';
import { EXIT_NOT_ISOLATED, runAttempt } from './process.ts';
import { type Sandbox, SandboxLost, SandboxStalled } from './sandbox-client.ts';

type Content = { type: string; [key: string]: unknown };
/** One scripted answer of the model. */
type Reply = { content: Content[]; stop?: Anthropic.StopReason } | ((response: ServerResponse) => void);

let directory: string;
let tokenFile: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-attempt-'));
  tokenFile = path.join(directory, 'token');
  await writeFile(tokenFile, 'first-token\n');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

let calls = 0;
const shell = (command: string, more: Record<string, unknown> = {}): Content => ({
  type: 'tool_use',
  id: `toolu_${++calls}`,
  name: 'shell',
  input: { command, reasoning: `because ${command}`, ...more },
});
const conclude = (outcome = 'fixed', more: Record<string, unknown> = {}): Content => ({
  type: 'tool_use',
  id: `toolu_${++calls}`,
  name: 'conclude',
  input: { outcome, summary: 'done', root_cause: 'a cause', actions: ['an action'], ...more },
});
const text = (words: string): Content => ({ type: 'text', text: words });

function events(content: readonly Content[], stop: string): string[] {
  const message = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'scripted',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 1 },
  };
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
    { type: 'message_start', ...{ message } },
    ...blocks,
    { type: 'message_delta', ...{ delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 5 } } },
    { type: 'message_stop' },
  ];
  return all.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

function send(response: ServerResponse, reply: Reply): void {
  if (typeof reply === 'function') {
    reply(response);
    return;
  }
  const stop = reply.stop ?? (reply.content.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn');
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(events(reply.content, stop).join(''));
}

const apiError =
  (status: number, type: string, headers: Record<string, string> = {}): Reply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'false', ...headers });
    response.end(JSON.stringify({ type: 'error', error: { type, message: `${type} for a test` } }));
  };

const anExit = (stdout: string, changes: Partial<ExecExit> = {}): ExecExit => ({
  type: 'exit',
  exitCode: 0,
  signal: null,
  timedOut: false,
  durationMs: 12,
  stdout,
  stderr: '',
  truncated: false,
  killedProcesses: 0,
  ...changes,
});
const closed: IsolationReport = {
  probes: [{ name: 'api-server', address: '10.0.0.1:443', open: false, allowed: false, expected: '', detail: '' }],
  closed: true,
  waitedMs: 3,
};

interface Options {
  readonly replies: readonly Reply[];
  readonly task?: Partial<Task>;
  readonly fault?: Fault;
  readonly exec?: Sandbox['exec'];
  readonly isolation?: IsolationReport;
  readonly alreadyStarted?: boolean;
  readonly signal?: AbortSignal;
}

async function attempt(options: Options) {
  const started: { command: string; at: number }[] = [];
  const seen: AgentEvent[] = [];
  const sandbox: Sandbox = {
    ready: async () => undefined,
    isolation: async () => options.isolation ?? closed,
    exec: async (command, onEvent, signal) => {
      started.push({ command: command.command, at: Date.now() });
      onEvent({ type: 'started', time: new Date().toISOString() });
      onEvent({ type: 'chunk', stream: 'stdout', text: 'live' });
      if (options.exec !== undefined) return options.exec(command, onEvent, signal);
      return anExit(`output of ${command.command}\n`);
    },
  };
  const gateway = await startFakeGateway({
    task: fakeTask({ model: { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000 }, ...options.task }),
    messages: (body, response, count) => {
      const small = z.looseObject({ model: z.literal('small') }).safeParse(body).success;
      if (small) return send(response, apiError(500, 'api_error'));
      const asked = gateway.bodies.filter(
        (it) => !z.looseObject({ model: z.literal('small') }).safeParse(it).success,
      ).length;
      send(response, options.replies[asked - 1] ?? { content: [text(`nothing scripted for call ${count}`)] });
    },
    ...(options.fault === undefined ? {} : { fault: options.fault }),
    ...(options.alreadyStarted === undefined ? {} : { alreadyStarted: options.alreadyStarted }),
  });
  try {
    const code = await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox,
      logger: silentLogger(),
      signal: options.signal ?? AbortSignal.timeout(30_000),
      onEvent: (event) => seen.push(event),
    });
    return { code, gateway, started, seen, end: seen.findLast((event) => event.type === 'ended') };
  } finally {
    await gateway.close();
  }
}

const kinds = (gateway: FakeGateway) => gateway.entries.map((entry) => entry.kind);
const modelRequest = (gateway: FakeGateway, index: number) =>
  z
    .looseObject({
      messages: z.array(z.object({ role: z.string(), content: z.array(z.looseObject({ type: z.string() })) })),
    })
    .parse(gateway.bodies[index]);

describe('the record', () => {
  it('has each call before its command starts, and each result before the model sees it', async () => {
    const { code, gateway, started } = await attempt({
      replies: [{ content: [text('I look.'), shell('first'), shell('second')] }, { content: [conclude()] }],
    });
    expect(code).toBe(0);
    expect(kinds(gateway)).toEqual([
      'lifecycle',
      'reasoning',
      'tool_call',
      'tool_result',
      'tool_call',
      'tool_result',
      'tool_call',
      'tool_result',
    ]);
    const shellCalls = gateway.entries.filter((entry) => entry.kind === 'tool_call' && entry.tool === 'shell');
    for (const [index, { command, at }] of started.entries()) {
      expect(shellCalls[index]?.params).toMatchObject({ command });
      expect(shellCalls[index]?.time).toBeLessThanOrEqual(at);
    }
    expect(gateway.conclusions).toEqual([
      { outcome: 'Fixed', summary: 'done', rootCause: 'a cause', actions: ['an action'] },
    ]);
    expect(gateway.live).toHaveLength(2);
  });

  it('answers several calls of one answer in one message, in their order', async () => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('a'), shell('b'), shell('c')] }, { content: [conclude()] }],
    });
    const second = modelRequest(gateway, 1);
    expect(second.messages.map((message) => message.role)).toEqual(['user', 'assistant', 'user']);
    const results = second.messages[2]?.content ?? [];
    expect(results.map((block) => block.type)).toEqual(['tool_result', 'tool_result', 'tool_result']);
    expect(results.map((block) => /output of (\w)/.exec(String(block.content))?.[1])).toEqual(['a', 'b', 'c']);
  });

  it('uses keys that are the same in every run', async () => {
    const run = () =>
      attempt({ task: { attempt: 2 }, replies: [{ content: [shell('a')] }, { content: [conclude()] }] });
    const [first, second] = [await run(), await run()];
    expect(first.gateway.entries.map((entry) => entry.clientKey)).toEqual(
      second.gateway.entries.map((entry) => entry.clientKey),
    );
    expect(first.gateway.entries.map((entry) => entry.clientKey)).toEqual(['2-isolation', '2-1', '2-2', '2-3', '2-4']);
  });

  it('holds thoughts, and sends them back as they came', async () => {
    const thinking = { type: 'thinking', thinking: 'perhaps the disk', signature: 'signed' };
    const { gateway } = await attempt({ replies: [{ content: [thinking, shell('df')] }, { content: [conclude()] }] });
    expect(gateway.entries.find((entry) => entry.kind === 'reasoning')).toMatchObject({ content: 'perhaps the disk' });
    expect(modelRequest(gateway, 1).messages[1]?.content[0]).toEqual(thinking);
  });

  it('has cut text for a summary when the small model does not answer', async () => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('a')] }, { content: [conclude()] }],
      exec: async () => anExit(`${'words '.repeat(200)}\n`),
    });
    const result = gateway.entries.find((entry) => entry.kind === 'tool_result');
    expect(result?.content).toContain('[truncated;');
    expect(result?.blob).toContain('words words');
  });
});

describe('while the audit log cannot take entries', () => {
  it('no command runs, and the same entry is sent again', async () => {
    const refusals: number[] = [];
    const keys: number[] = [];
    const { gateway, started } = await attempt({
      replies: [{ content: [shell('careful')] }, { content: [conclude()] }],
      fault: (at, response, count) => {
        if (at !== paths.entries) return false;
        keys.push(count);
        // The first entry reports the isolation probes; the second is the call.
        if (count < 2 || count > 4) return false;
        refusals.push(Date.now());
        return refuse(response, 503, 'OPLAB_AUDIT_UNAVAILABLE');
      },
    });
    expect(refusals).toHaveLength(3);
    expect(started).toHaveLength(1);
    expect(started[0]?.at).toBeGreaterThanOrEqual(refusals.at(-1) ?? Number.POSITIVE_INFINITY);
    expect(gateway.entries.filter((entry) => entry.clientKey === '1-1')).toHaveLength(1);
  });

  it('waits for a lease that is not there yet, and ends when it is gone', async () => {
    let first = true;
    const { code, started, end } = await attempt({
      replies: [{ content: [shell('never')] }],
      fault: (at, response, count) => {
        if (at === paths.task && first) {
          first = false;
          return refuse(response, 409, 'OPLAB_NO_LEASE_YET');
        }
        return at === paths.entries && count > 1 ? refuse(response, 403, 'OPLAB_NO_LEASE') : false;
      },
    });
    expect(code).toBe(0);
    expect(started).toEqual([]);
    expect(end).toMatchObject({ end: { reason: 'lease-over' } });
  });
});

describe("the model's failures", () => {
  it.each<[string, Reply]>([
    ['529', apiError(529, 'overloaded_error')],
    ['500', apiError(500, 'api_error')],
    [
      'a stream that is cut',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(
          events([shell('half')], 'tool_use')
            .slice(0, 3)
            .join(''),
        );
        setTimeout(() => response.destroy(), 50);
      },
    ],
    [
      'a stream that ends early',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(
          events([shell('half')], 'tool_use')
            .slice(0, 4)
            .join(''),
        );
      },
    ],
    [
      'a garbled stream',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end('event: message_start\ndata: {"type": "mess\n\n');
      },
    ],
    [
      'a call whose input is no JSON',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(
          events([shell('half')], 'tool_use')
            .join('')
            .replaceAll(/"partial_json":"[^"]*(\\.[^"]*)*"/g, '"partial_json":"}{"'),
        );
      },
    ],
    [
      'an error inside a stream',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n');
      },
    ],
    ['a connection that breaks', (response) => response.destroy()],
  ])('are tried again: %s', async (_what, failure) => {
    const { gateway, started } = await attempt({ replies: [failure, { content: [conclude('nothing_wrong')] }] });
    expect(gateway.conclusions).toHaveLength(1);
    expect(started).toEqual([]);
  });

  it('end the attempt when a ceiling is reached, without another try', async () => {
    const ceiling: Reply = (response) =>
      void refuse(response, 429, 'OPLAB_LIMIT_REACHED', { 'x-should-retry': 'false' });
    const { code, gateway, end } = await attempt({ replies: [ceiling, { content: [conclude()] }] });
    expect(code).toBe(0);
    expect(gateway.bodies).toHaveLength(1);
    expect(gateway.conclusions).toEqual([]);
    expect(end).toMatchObject({ end: { reason: 'lease-over' } });
  });

  it('end the attempt with the reason on record when the API refuses for good', async () => {
    const { code, gateway } = await attempt({ replies: [apiError(400, 'invalid_request_error')] });
    expect(code).toBe(0);
    expect(gateway.entries.at(-1)).toMatchObject({ kind: 'lifecycle' });
    expect(gateway.entries.at(-1)?.content).toContain('invalid_request_error');
  });

  it('do not include a server that answers without streaming', async () => {
    const whole: Reply = (response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          id: 'm',
          type: 'message',
          role: 'assistant',
          model: 'scripted',
          content: [shell('a'), shell('b')],
          stop_reason: 'tool_use',
          stop_sequence: null,
          usage: { input_tokens: 1, output_tokens: 1 },
        }),
      );
    };
    const { started, gateway } = await attempt({ replies: [whole, { content: [conclude()] }] });
    expect(started.map((it) => it.command)).toEqual(['a', 'b']);
    expect(gateway.conclusions).toHaveLength(1);
  });
});

describe('calls that cannot be', () => {
  it.each<[string, Content, string]>([
    ['an unknown tool', { type: 'tool_use', id: 'toolu_x', name: 'reboot', input: {} }, 'There is no tool "reboot"'],
    [
      'a NUL byte',
      { type: 'tool_use', id: 'toolu_x', name: 'shell', input: { command: 'a\0b', reasoning: 'r' } },
      'NUL',
    ],
    ['a missing reason', { type: 'tool_use', id: 'toolu_x', name: 'shell', input: { command: 'ls' } }, 'reasoning'],
    [
      'a time limit beyond the most',
      {
        type: 'tool_use',
        id: 'toolu_x',
        name: 'shell',
        input: { command: 'ls', reasoning: 'r', timeout_seconds: 9999 },
      },
      '600',
    ],
    [
      'an outcome that does not exist',
      {
        type: 'tool_use',
        id: 'toolu_x',
        name: 'conclude',
        input: { outcome: 'great', summary: 's', root_cause: '', actions: [] },
      },
      'Nothing was concluded',
    ],
  ])('are answered with what to do instead: %s', async (_what, call, hint) => {
    const { gateway, started } = await attempt({ replies: [{ content: [call] }, { content: [conclude()] }] });
    const [result] = modelRequest(gateway, 1).messages.at(-1)?.content ?? [];
    expect(result).toMatchObject({ type: 'tool_result', is_error: true });
    expect(String(result?.content)).toContain(hint);
    expect(started).toEqual([]);
    // Also what was not run is on record.
    expect(kinds(gateway).filter((kind) => kind === 'tool_call')).toHaveLength(2);
  });

  it('include a claim in the same answer as commands whose results nobody has seen', async () => {
    const { gateway, started } = await attempt({
      replies: [{ content: [shell('fix'), conclude()] }, { content: [conclude('cannot_fix')] }],
    });
    expect(started).toHaveLength(1);
    expect(gateway.conclusions.map((it) => it.outcome)).toEqual(['CannotFix']);
  });

  it('include a claim to have fixed something in mode Diagnose', async () => {
    const { gateway } = await attempt({
      task: { mode: 'Diagnose' },
      replies: [{ content: [conclude('fixed')] }, { content: [conclude('cannot_fix')] }],
    });
    expect(gateway.conclusions.map((it) => it.outcome)).toEqual(['CannotFix']);
  });

  it('include one that was cut off at the output limit', async () => {
    const { started, gateway } = await attempt({
      replies: [{ content: [shell('whole'), shell('half')], stop: 'max_tokens' }, { content: [conclude()] }],
    });
    expect(started.map((it) => it.command)).toEqual(['whole']);
    expect(String(modelRequest(gateway, 1).messages.at(-1)?.content[1]?.content)).toContain('cut off');
  });
});

describe('an attempt ends', () => {
  it('without a claim when the model stops calling tools, after three reminders', async () => {
    const { code, gateway, end } = await attempt({ replies: [{ content: [text('All is well, I am done.')] }] });
    expect(code).toBe(0);
    expect(gateway.bodies).toHaveLength(4);
    expect(gateway.conclusions).toEqual([]);
    expect(end).toMatchObject({ end: { reason: 'silent' } });
  });

  it('with a refusal of the model', async () => {
    const { gateway, end } = await attempt({ replies: [{ content: [text('No.')], stop: 'refusal' }] });
    expect(gateway.bodies).toHaveLength(1);
    expect(end).toMatchObject({ end: { reason: 'model-refused' } });
  });

  it('at once when its container was restarted, with a word about it', async () => {
    const { code, gateway } = await attempt({ alreadyStarted: true, replies: [{ content: [shell('again')] }] });
    expect(code).toBe(0);
    expect(gateway.entries).toHaveLength(1);
    expect(gateway.entries[0]).toMatchObject({ kind: 'lifecycle', clientKey: '1-interrupted' });
    expect(gateway.bodies).toEqual([]);
  });

  it('before the first question when the sandbox is not isolated', async () => {
    const open = {
      probes: [{ name: 'api-server', address: '10.0.0.1:443', open: true, allowed: false, expected: '', detail: 'connected' }],
      closed: false,
      waitedMs: 30000,
    };
    const { code, gateway } = await attempt({ isolation: open, replies: [{ content: [shell('never')] }] });
    expect(code).toBe(EXIT_NOT_ISOLATED);
    expect(gateway.bodies).toEqual([]);
    expect(gateway.entries[0]?.content).toContain('api-server (10.0.0.1:443)');
  });

  it('at its deadline, though the model never answers', async () => {
    const { code, end, gateway } = await attempt({
      task: { deadline: new Date(Date.now() + 1500).toISOString() },
      replies: [() => undefined],
    });
    expect(code).toBe(0);
    expect(end).toMatchObject({ end: { reason: 'stopped' } });
    expect(gateway.entries.at(-1)).toMatchObject({ kind: 'lifecycle', clientKey: '1-end' });
  });

  it('when the sandbox keeps no time limit, with the result on record', async () => {
    const { code, end, gateway, started } = await attempt({
      replies: [{ content: [shell('kill -STOP $PPID')] }, { content: [shell('never')] }],
      exec: async () => {
        throw new SandboxStalled(1);
      },
    });
    expect(code).toBe(0);
    expect(started).toHaveLength(1);
    expect(end).toMatchObject({ end: { reason: 'sandbox-stalled' } });
    const result = gateway.entries.find((entry) => entry.kind === 'tool_result');
    expect(result).toMatchObject({ params: { indeterminate: true } });
    expect(gateway.entries.at(-1)?.content).toContain('sandbox-stalled: the shell server did not report');
  });

  it('with SIGTERM in the middle of a command', async () => {
    const stop = new AbortController();
    const { code, end } = await attempt({
      signal: stop.signal,
      replies: [{ content: [shell('long')] }],
      exec: async (_command, _onEvent, signal) => {
        setTimeout(() => stop.abort(new Error('the pod is being stopped (SIGTERM)')), 100);
        await sleep(20_000, undefined, { signal });
        return anExit('');
      },
    });
    expect(code).toBe(0);
    expect(end).toMatchObject({ end: { reason: 'stopped', message: 'the pod is being stopped (SIGTERM)' } });
  });
});

describe('the sandbox', () => {
  it('may be killed under a command: the result says so, and the agent goes on', async () => {
    let count = 0;
    const { gateway } = await attempt({
      replies: [{ content: [shell('hungry')] }, { content: [shell('modest')] }, { content: [conclude('cannot_fix')] }],
      exec: async () => {
        if (++count === 1) throw new SandboxLost(new Error('socket hang up'));
        return anExit('fine\n');
      },
    });
    const [result] = modelRequest(gateway, 1).messages.at(-1)?.content ?? [];
    expect(result).toMatchObject({ is_error: true });
    expect(String(result?.content)).toContain('sandbox container was killed');
    expect(gateway.conclusions).toHaveLength(1);
  });

  it('reports a killed process as the exit code that a shell would give', async () => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('hungry')] }, { content: [conclude('cannot_fix')] }],
      exec: async () => anExit('', { exitCode: null, signal: 'SIGKILL' }),
    });
    expect(gateway.entries.find((entry) => entry.kind === 'tool_result')).toMatchObject({ exitCode: 137 });
  });
});

it('reads its token anew for every request', async () => {
  const { gateway } = await attempt({
    replies: [{ content: [shell('a')] }, { content: [conclude()] }],
    exec: async () => {
      await writeFile(tokenFile, 'second-token\n');
      return anExit('');
    },
  });
  expect(gateway.tokens[0]).toBe('Bearer first-token');
  expect(gateway.tokens.at(-1)).toBe('Bearer second-token');
});
