// The model door: it keeps the key, enforces limits, settles streams, and ends everything with its
// lease.

import { readFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { HELLO, MODEL_KEY, message, sse } from '../support/fake-model-api.ts';
import type { Attempt } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  await lab?.close();
});

const ask = (attempt: Attempt, body: object, headers?: Record<string, string>) =>
  lab.ask(
    attempt,
    'POST',
    '/v1/messages',
    { model: 'claude-opus-5-5', max_tokens: 1000, messages: HELLO, ...body },
    headers,
  );
const readUsage = async (name: string) => (await lab.incident(name)).status?.usage;

describe('the model door', () => {
  it('forwards with its own key and without the caller’s headers, and records the call', async () => {
    const attempt = await lab.open('forwards');
    let seen: Record<string, unknown> = {};
    lab.model(({ body, headers, response }) => {
      seen = headers;
      response.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_1', 'x-internal': 'no' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 1000, output_tokens: 100 })));
    });
    const answer = await ask(attempt, {}, { 'anthropic-version': '2023-06-01', 'x-api-key': 'mine', cookie: 'a=b' });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ content: [{ text: 'hello' }] });
    expect(answer.headers['x-internal']).toBeUndefined();
    expect(seen['x-api-key']).toBe(MODEL_KEY);
    expect(seen['anthropic-version']).toBe('2023-06-01');
    expect(seen.cookie).toBeUndefined();
    expect(seen.authorization).toBeUndefined();

    const call = (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call');
    // 1000 × $4 + 100 × $20, per million.
    expect(call?.params).toMatchObject({
      status: 200,
      inputTokens: 1000,
      outputTokens: 100,
      costMicroUSD: 6000,
      requestId: 'req_1',
    });
    const usage = await eventually(async () => {
      const now = await readUsage('forwards');
      return now?.turns === 1 ? now : undefined;
    });
    expect(usage).toMatchObject({ turns: 1, modelCalls: 1, inputTokens: 1000, outputTokens: 100, costMilliUSD: 6 });
  });

  it('keeps the key out of the log file, the database and every answer, even when the model API repeats it', async () => {
    const attempt = await lab.open('key');
    lab.model(({ headers, response }) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          type: 'error',
          error: { type: 'invalid_request_error', message: `key ${headers['x-api-key']}` },
        }),
      );
    });
    await ask(attempt, {});
    expect(lab.logLines.join('')).not.toContain(MODEL_KEY);
    for (const file of ['audit.db', 'audit.db-wal']) {
      expect((await readFile(path.join(lab.dir, file))).includes(MODEL_KEY), file).toBe(false);
    }
  });

  it('forwards a stream and settles it from its events', async () => {
    const attempt = await lab.open('streams');
    lab.model(async ({ body, response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(
        sse('message_start', {
          message: { ...message(body.model, { input_tokens: 500, output_tokens: 1 }), content: [] },
        }),
      );
      response.write(': comment\n\n');
      const delta = sse('message_delta', { delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 42 } });
      // The chunk ends in the middle of an event, because chunk boundaries have no meaning.
      response.write(delta.slice(0, 30));
      await sleep(20);
      response.write(delta.slice(30));
      response.end(sse('message_stop', {}));
    });
    const answer = await ask(attempt, { stream: true });
    expect(answer.text).toContain('event: message_stop');
    const call = (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call');
    expect(call?.params).toMatchObject({ inputTokens: 500, outputTokens: 42, stopReason: 'tool_use', stream: true });
  });

  it('charges a cut stream for what was seen of it and what may be on its way, and it is no turn', async () => {
    const attempt = await lab.open('cut-long');
    lab.model(async ({ body, response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(sse('message_start', { message: message(body.model, { input_tokens: 500, output_tokens: 1 }) }));
      response.write(sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'x'.repeat(600) } }));
      await sleep(20);
      response.destroy();
    });
    await expect(ask(attempt, { stream: true, max_tokens: 16_000 })).rejects.toThrow();
    const call = await eventually(async () =>
      (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call'),
    );
    expect(call.params).toMatchObject({ inputTokens: 500, outputTokens: 300 + 2000, turn: false });
  });

  it('charges nothing for overload that is told inside of a stream', async () => {
    const attempt = await lab.open('overload-inside');
    lab.model(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(sse('error', { error: { type: 'overloaded_error', message: 'Overloaded' } }));
    });
    for (let tries = 0; tries < 20; tries += 1) await ask(attempt, { stream: true, max_tokens: 16_000 });
    await sleep(1200);
    expect(await readUsage('overload-inside')).toMatchObject({ turns: 0, costMilliUSD: 0 });
  });

  it.each<[string, number, object, string]>([
    [
      'a wrong key',
      401,
      { type: 'error', error: { type: 'authentication_error', message: 'invalid x-api-key' } },
      'OPLAB_MODEL_KEY_REFUSED',
    ],
    [
      'an account without credit',
      400,
      { error: { type: 'invalid_request_error', message: 'Your credit balance is too low' } },
      'OPLAB_MODEL_ACCOUNT',
    ],
    [
      'an unknown model',
      404,
      { type: 'error', error: { type: 'not_found_error', message: 'model: x' } },
      'OPLAB_MODEL_UNKNOWN',
    ],
    [
      'a conversation that is too long',
      413,
      { error: { type: 'request_too_large', message: 'x' } },
      'OPLAB_CONTEXT_FULL',
    ],
  ])('says what cannot pass, whose it is and what to do, without the key: %s', async (what, status, body, code) => {
    const attempt = await lab.open(`final-${status}-${what.length}`);
    lab.model(({ headers, response }) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      const text = JSON.stringify(body).replace('"}}', ` ${headers['x-api-key']}"}}`);
      response.end(text);
    });
    const answer = await ask(attempt, {});
    expect([answer.status, answer.headers['x-should-retry']]).toEqual([424, 'false']);
    expect(answer.json).toMatchObject({ error: { code, message: expect.stringMatching(/: .*; it says \(\d+\): /) } });
    expect(JSON.stringify(answer.json)).not.toContain(MODEL_KEY);
    expect((await lab.entries(attempt)).find(({ kind }) => kind === 'model_call')?.params).toMatchObject({ status });
  });

  it('ends a wait that is longer than the Incident has left', async () => {
    const attempt = await lab.open('long-wait', { timeoutSeconds: 60 });
    lab.model(({ response }) => {
      response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '3600' });
      response.end(JSON.stringify({ type: 'error', error: { type: 'rate_limit_error', message: 'slow down' } }));
    });
    const answer = await ask(attempt, {});
    expect(answer.json).toMatchObject({
      error: { code: 'OPLAB_MODEL_ACCOUNT', message: expect.stringContaining('3600 s') },
    });
  });

  it('shortens the output to what is left, and tells the agent how much that is', async () => {
    // 100 milli-dollars are 5,000 tokens of output of Opus 5.5.
    const attempt = await lab.open('shortened', { maxCostMilliUSD: 100 });
    const asked: unknown[] = [];
    lab.model(({ body, response }) => {
      asked.push(body.max_tokens);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 10, output_tokens: 4000 })));
    });
    const first = await ask(attempt, { max_tokens: 16_000 });
    expect([first.status, first.headers['oplab-budget-left']]).toEqual([200, '19 cost']);
    expect(asked[0]).toBeGreaterThan(4900);
    expect(asked[0]).toBeLessThanOrEqual(5000);
    expect((await ask(attempt, { max_tokens: 16_000 })).status).toBe(429);
  });

  it('charges a cut stream, and the caller sees that it was cut', async () => {
    const attempt = await lab.open('cut');
    lab.model(async ({ body, response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(sse('message_start', { message: message(body.model, { input_tokens: 500, output_tokens: 1 }) }));
      await sleep(20);
      response.destroy();
    });
    await expect(ask(attempt, { stream: true })).rejects.toThrow();
    const call = await eventually(async () =>
      (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call'),
    );
    expect(call.params).toMatchObject({ inputTokens: 500, outputTokens: 1000 });
    expect(call.content).toContain('cut off');
  });

  it('charges a stream that the caller hangs up before any answer, as a turn at its upper bound', async () => {
    const attempt = await lab.open('hung-up');
    const arrived = Promise.withResolvers<void>();
    lab.model(() => arrived.resolve());
    const request = https.request({
      ...{ host: '127.0.0.1', port: lab.gateway.ports.agent, method: 'POST', path: '/v1/messages' },
      ...{ ca: await readFile(path.join(lab.dir, 'tls.crt')), agent: false },
      headers: {
        authorization: `Bearer ${attempt.agentToken}`,
        'content-type': 'application/json',
        'anthropic-version': '2026-10-21',
      },
    });
    request.on('error', () => {});
    request.end(JSON.stringify({ model: 'claude-opus-5-5', max_tokens: 1000, messages: HELLO, stream: true }));
    await arrived.promise;
    request.destroy();
    const call = await eventually(async () =>
      (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call'),
    );
    expect(call.params).toMatchObject({ status: null, turn: true, outputTokens: 1000, cut: 'the agent hung up' });
    await eventually(async () => ((await readUsage('hung-up'))?.turns === 1 ? true : undefined));
  });

  it('refuses calls after the last turn, shows that in the status at once, and still accepts the claim', async () => {
    const attempt = await lab.open('turns', { maxTurns: 2 });
    lab.model(({ body, response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 10, output_tokens: 1 })));
    });
    expect((await ask(attempt, {})).status).toBe(200);
    // The small model's summaries do not count as turns.
    expect((await ask(attempt, { model: 'claude-haiku-5-5' })).status).toBe(200);
    expect((await ask(attempt, {})).status).toBe(200);
    const refused = await ask(attempt, {});
    expect(refused.status).toBe(429);
    expect(refused.headers['x-should-retry']).toBe('false');
    expect(refused.json).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error', code: 'OPLAB_LIMIT_REACHED' },
    });
    await eventually(async () => ((await readUsage('turns'))?.limitReached === 'turns' ? true : undefined), {
      withinMs: 1000,
    });
    expect((await ask(attempt, { model: 'claude-haiku-5-5' })).status).toBe(429);
    expect((await lab.entries(attempt)).filter((entry) => entry.clientKey === 'limit-reached')).toHaveLength(1);
    expect((await lab.kubectl(attempt, 'get', 'pods')).stderr).toContain('OPLAB_LIMIT_REACHED');
    const claim = { outcome: 'CannotFix', summary: 'out of turns' };
    expect((await lab.ask(attempt, 'POST', '/agent/v1/conclude', claim)).status).toBe(200);
    expect((await lab.incident('turns')).status?.claim).toMatchObject({ attempt: 1, outcome: 'CannotFix' });
  });

  it('never lets the cost exceed the limit: it reserves what a request may cost before it forwards it', async () => {
    // 16000 output tokens of Opus 5.5 may cost $0.32.
    const attempt = await lab.open('cost', { maxCostMilliUSD: 500 });
    let forwarded = 0;
    lab.model(async ({ body, response }) => {
      forwarded += 1;
      await sleep(100);
      response.writeHead(200, { 'content-type': 'application/json' });
      // The model makes as much as it may.
      response.end(JSON.stringify(message(body.model, { input_tokens: 10, output_tokens: body.max_tokens })));
    });
    const answers = await Promise.all([1, 2, 3].map(() => ask(attempt, { max_tokens: 16_000 })));
    // The second waits for the first, and gets the rest.
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 200, 429]);
    expect(forwarded).toBe(2);
    await eventually(async () => ((await readUsage('cost'))?.limitReached === 'cost' ? true : undefined));
    expect((await readUsage('cost'))?.costMilliUSD).toBeLessThanOrEqual(500);
  });

  it('reserves for what it forwards, which may be longer than what it was sent', async () => {
    const attempt = await lab.open('longer', { maxTokens: 120_000 });
    let forwarded = 0;
    lab.model(({ body, response }) => {
      forwarded += 1;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 100_000, output_tokens: 1 })));
    });
    // 50 KB, and 220 KB once each number has its 21 digits.
    const input = { n: Array(10_000).fill(JSON.rawJSON('1e20')) };
    const messages = [{ role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'shell', input }] }];
    const answer = await ask(attempt, { messages });
    expect([answer.status, forwarded]).toEqual([429, 0]);
    const other = await lab.open('content-type');
    let contentType: unknown;
    lab.model(({ body: asked, headers, response }) => {
      contentType = headers['content-type'];
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(asked.model, { input_tokens: 1, output_tokens: 1 })));
    });
    expect((await ask(other, {}, { 'content-type': 'text/plain; charset=utf-16' })).status).toBe(200);
    expect(contentType).toBe('application/json');
    const beta = await ask(other, {}, { 'anthropic-beta': 'context-1m-2025-08-07' });
    expect([beta.status, JSON.stringify(beta.json)]).toEqual([400, expect.stringContaining('context-1m-2025-08-07')]);
  });

  it('refuses other models, models without a price, the vendor’s tools, and external sources', async () => {
    const attempt = await lab.open('policy', {}, { models: ['nobody-prices-me', 'claude-haiku-5-5'] });
    const code = async (body: object) => {
      const answer = await ask(attempt, { model: 'claude-haiku-5-5', ...body });
      return `${answer.status} ${JSON.stringify(answer.json)}`;
    };
    expect(await code({ model: 'claude-opus-5-5' })).toMatch(/^400 .*AgentClass default does not allow model/);
    expect(await code({ model: 'nobody-prices-me' })).toMatch(/^400 .*has no price/);
    expect(await code({ tools: [{ type: 'web_search_20260318', name: 'web_search' }] })).toMatch(
      /^400 .*web_search_20260318/,
    );
    expect(await code({ mcp_servers: [{ type: 'url', url: 'https://elsewhere.example' }] })).toMatch(
      /^400 .*mcp_servers/,
    );
    expect(await code({ max_tokens: 16_001 })).toMatch(/^400 .*max_tokens/);
    const image = { type: 'image', source: { type: 'url', url: 'https://elsewhere.example/?secret' } };
    const result = { type: 'tool_result', tool_use_id: 'x', content: [image] };
    expect(await code({ messages: [{ role: 'user', content: [result] }] })).toMatch(/^400 .*block of type image/);
    expect((await lab.entries(attempt)).some((entry) => entry.kind === 'model_call')).toBe(false);
  });

  it('forwards 429 and 529 with their retry-after, and charges nothing for them', async () => {
    const attempt = await lab.open('busy');
    lab.model(({ response }) => {
      response.writeHead(529, { 'content-type': 'application/json', 'retry-after': '7' });
      response.end(JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }));
    });
    const answer = await ask(attempt, {});
    expect([answer.status, answer.headers['retry-after']]).toEqual([529, '7']);
    const call = (await lab.entries(attempt)).find((entry) => entry.kind === 'model_call');
    expect(call?.params).toMatchObject({ status: 529 });
    await sleep(1200);
    expect((await readUsage('busy'))?.costMilliUSD).toBe(0);
  });

  it('cuts a running stream within a second of a cancel, and refuses permanently', async () => {
    const attempt = await lab.open('cancelled');
    lab.model(({ body, response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(sse('message_start', { message: message(body.model, { input_tokens: 5, output_tokens: 1 }) }));
      const pings = setInterval(() => response.write(sse('ping', {})), 10);
      response.once('close', () => clearInterval(pings));
    });
    const body = { model: 'claude-opus-5-5', max_tokens: 1000, messages: HELLO, stream: true };
    const open = await lab.stream(attempt, '/v1/messages', body);
    const cut = new Promise<number>((resolve) => open.once('close', () => resolve(performance.now())));
    open.on('error', () => {});
    open.resume();
    await sleep(100);
    const { INCIDENTS } = await import('../../src/kube/resources.ts');
    await lab.client.patch(INCIDENTS, { name: 'cancelled', namespace: 'patient' }, { spec: { cancel: true } });
    const asked = performance.now();
    expect((await cut) - asked).toBeLessThan(1000);
    const refused = await ask(attempt, {});
    expect(refused.status).toBe(403);
    expect(refused.json).toMatchObject({ error: { code: 'OPLAB_NO_LEASE' } });
  });

  it('refuses the sandbox’s token', async () => {
    const attempt = await lab.open('audience');
    const answer = await lab.ask({ ...attempt, agentToken: attempt.sandboxToken }, 'GET', '/agent/v1/task');
    expect(answer.status).toBe(401);
    expect(answer.json).toMatchObject({ error: { code: 'OPLAB_UNAUTHENTICATED' } });
  });

  it('remembers after a restart what was spent', async () => {
    const attempt = await lab.open('restart', { maxTurns: 1 });
    lab.model(({ body, response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(message(body.model, { input_tokens: 10, output_tokens: 1 })));
    });
    expect((await ask(attempt, {})).status).toBe(200);
    await lab.restartGateway();
    expect((await ask(attempt, {})).status).toBe(429);
  });
});
