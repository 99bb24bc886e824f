// An attempt against a scripted model: the order of the record, and what ends it.

import { writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  anExit,
  attempt,
  conclude,
  kinds,
  messageStart,
  modelRequest,
  send,
  shell,
  text,
} from '../../test/support/attempt-harness.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type FakeGateway, refuse } from '../../test/support/fake-gateway.ts';
import { paths } from '../gateway/protocol.ts';
import { EXIT_NOT_ISOLATED } from './process.ts';
import { SandboxLost, SandboxStalled } from './sandbox-client.ts';

let entries: FakeGateway['entries'] = [];
const summaries = () => entries.filter(({ clientKey }) => clientKey.endsWith('-summary'));

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

  it('says that a command has ended before its output is recorded', async () => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('a')] }, { content: [conclude()] }],
      exec: async () => anExit(`${'words '.repeat(200)}\n`),
    });
    const call = gateway.entries.find((entry) => entry.tool === 'shell');
    expect(gateway.ended).toEqual([{ callKey: call?.clientKey, entries: call?.seq, asked: 1 }]);
  });

  it.each<[string, () => Promise<never>]>([
    ['that was lost', () => Promise.reject(new SandboxLost(new Error('socket hang up')))],
    ['that keeps no time limit', () => Promise.reject(new SandboxStalled(1))],
  ])('says so of a command in a sandbox %s', async (_, exec) => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('a')] }, { content: [conclude('cannot_fix')] }],
      exec,
    });
    expect(gateway.ended).toHaveLength(1);
  });

  it('goes on with a gateway that does not know of ended commands', async () => {
    const { gateway } = await attempt({
      replies: [{ content: [shell('a')] }, { content: [conclude()] }],
      fault: (path, response) => path === paths.commandEnded && refuse(response, 404, 'OPLAB_NOT_FOUND'),
    });
    expect(gateway.entries.find((entry) => entry.kind === 'tool_result')).toMatchObject({ exitCode: 0 });
    expect(gateway.conclusions).toHaveLength(1);
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

  it('has the summary of a long result as an addition, which nothing waits for', async () => {
    const small = Promise.withResolvers<ServerResponse>();
    const { gateway } = await attempt({
      small: (response) => small.resolve(response),
      replies: [
        { content: [shell('a')] },
        async (response) => {
          const message = { ...messageStart.message, content: [text('many words')], stop_reason: 'end_turn' };
          (await small.promise).writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message));
          send(response, { content: [shell('b')] });
        },
        async (response) => {
          await eventually(() => summaries().length === 1);
          send(response, { content: [conclude()] });
        },
      ],
      onGateway: (started) => {
        entries = started.entries;
      },
      exec: async () => anExit(`${'words '.repeat(400)}\n`),
    });
    const results = gateway.entries.filter((entry) => entry.kind === 'tool_result');
    const [first] = results;
    expect(first?.content).toMatch(/^words words .*\[truncated;/);
    expect(summaries()).toMatchObject([
      { clientKey: '1-1-summary', params: { step: 'summary', result: first?.seq }, content: 'many words' },
    ]);
    expect(gateway.conclusions).toHaveLength(1);
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
    expect(end).toMatchObject({ end: { reason: 'model-failed', code: 'OPLAB_MODEL_DECLINED' } });
  });

  it.each([
    ['was restarted, and nothing is kept of its conversation', { nextKey: 5 }, /its conversation is not kept/],
    ['dies again and again', { nextKey: 1, givenUp: 'died 11 times' }, /died 11 times/],
  ])('at once when its agent %s, with a word about it', async (_, started, word) => {
    const { code, gateway, reports } = await attempt({
      start: { alreadyStarted: true, restarts: 1, ...started },
      replies: [{ content: [shell('again')] }],
    });
    expect(code).toBe(0);
    expect(gateway.entries).toMatchObject([
      { kind: 'lifecycle', clientKey: '1-end', params: { reason: 'interrupted' } },
    ]);
    expect(gateway.entries[0]?.content).toMatch(word);
    expect(reports).toEqual([{ message: expect.stringMatching(word) }]);
    expect(gateway.bodies).toEqual([]);
  });

  it('before the first question when the sandbox is not isolated', async () => {
    const open = {
      probes: [
        { name: 'api-server', address: '10.0.0.1:443', open: true, allowed: false, expected: '', detail: 'connected' },
      ],
      closed: false,
      waitedMs: 30000,
    };
    const { code, gateway } = await attempt({ isolation: open, replies: [{ content: [shell('never')] }] });
    expect(code).toBe(EXIT_NOT_ISOLATED);
    expect(gateway.bodies).toEqual([]);
    expect(gateway.entries[0]?.content).toContain('api-server (10.0.0.1:443)');
  });

  it('not before its deadline on a node whose clock is ahead, since the gateway tells the time', async () => {
    const anHourAgo = Date.now() - 3_600_000;
    const task = { now: new Date(anHourAgo).toISOString(), deadline: new Date(anHourAgo + 600_000).toISOString() };
    const { gateway } = await attempt({ task, replies: [{ content: [shell('a')] }, { content: [conclude()] }] });
    expect(gateway.conclusions).toHaveLength(1);
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
    expect(gateway.entries.at(-1)?.content).toContain('the shell server did not report');
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
    exec: async (_command, _onEvent, _signal, tokenFile) => {
      await writeFile(tokenFile, 'second-token\n');
      return anExit('');
    },
  });
  expect(gateway.tokens[0]).toBe('Bearer first-token');
  expect(gateway.tokens.at(-1)).toBe('Bearer second-token');
});
