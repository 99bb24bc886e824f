// A session of an agent whose gateway goes a certain way to the model: through a double of its provider.

import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { DEFAULT_SUMMARY_MODEL } from '../../src/api/agent-class.ts';
import { parseEnvironment } from '../../src/environment.ts';
import { createModelAPI } from '../../src/gateway/doors/model/providers/create.ts';
import type { ModelAPI } from '../../src/gateway/doors/model/upstream.ts';
import { gatewayEnvironment } from '../../src/gateway/environment.ts';
import { message, sse } from './fake-model-api.ts';
import { type ChainOptions, type ChainResult, runModelChain, type UpstreamReply } from './model-chain.ts';
import { startProviderDouble, type Wall } from './provider-doubles.ts';

/** A whole answer of the model: it calls `conclude`. */
export const claim: UpstreamReply = (response) => {
  const { content: _, ...head } = message('claude-opus-5-5', { input_tokens: 900, output_tokens: 1 });
  const tool = { type: 'tool_use', id: 'toolu_1', name: 'conclude', input: {} };
  const input = JSON.stringify({ outcome: 'fixed', summary: 's', root_cause: 'c', actions: [] });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(sse('message_start', { message: { ...head, content: [], stop_reason: null } }));
  response.write(sse('content_block_start', { index: 0, content_block: tool }));
  response.write(sse('content_block_delta', { index: 0, delta: { type: 'input_json_delta', partial_json: input } }));
  response.write(sse('content_block_stop', { index: 0 }));
  response.write(sse('message_delta', { delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 40 } }));
  response.end(sse('message_stop', {}));
};

/** A way to the model: its wall, and the settings of a gateway that goes it. */
export interface Way {
  readonly wall: Wall;
  readonly settings: Record<string, string>;
  /** What comes after the address of the double. */
  readonly base?: string;
  readonly model: string;
  readonly chain?: Partial<ChainOptions>;
}

/** Runs a session through a double. */
export async function runThrough({ wall, settings, base = '', model, chain = {} }: Way) {
  const secrets = new Set<string>();
  const target = Promise.withResolvers<string>();
  const double = await startProviderDouble({ wall, forwardTo: target.promise });
  const { url } = double;
  await using _ = { [Symbol.asyncDispose]: () => double.close() };
  const result = await runModelChain({
    replies: [claim],
    model: { name: model, summaryName: `${/^(?:anthropic\.)?/.exec(model)}${DEFAULT_SUMMARY_MODEL}` },
    ...chain,
    connect: (modelURL) => {
      target.resolve(modelURL);
      return openWay({ OPLAB_UPSTREAM_URL: `${url}${base}`, ...settings }, secrets);
    },
  });
  return { ...result, secrets, double };
}

/** The way of a gateway with these settings. @param secrets gets what the log is to remove */
export function openWay(settings: Record<string, string>, secrets = new Set<string>()): ModelAPI {
  return createModelAPI(parseEnvironment(gatewayEnvironment, settings), (secret) => secrets.add(secret));
}

/** One call without a session. @returns the status, and the text of an error */
export async function callOnce(api: ModelAPI, model: string): Promise<readonly [number, string]> {
  const request = { model, max_tokens: 10, messages: [] };
  const call = {
    ...{ request, body: Buffer.from(JSON.stringify(request)), beta: false },
    headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
  };
  const answer = await api.send(call, AbortSignal.timeout(30_000));
  return [answer.statusCode ?? 0, await text(answer)];
}

/** What a session that worked has in common, whoever served the model. */
export function expectRepaired(result: Awaited<ReturnType<typeof runThrough>>) {
  expectClaimed(result);
  expectNoSecret(result);
}

/** One call was made, and answered, charged and counted. */
export function expectClaimed(result: ChainResult) {
  expect(result.report).toBeUndefined();
  expect(result.conclusions).toMatchObject([{ outcome: 'Fixed' }]);
  expect(result.charges).toMatchObject([{ inputTokens: 900, outputTokens: 40, turn: true }]);
  expect(result.charges[0]?.costMicroUSD).toBeGreaterThan(0);
  expect(result.asked).toHaveLength(1);
}

/** The credential is in no entry of the log, and the log was told to remove it. */
export function expectNoSecret({ entries, secrets }: Awaited<ReturnType<typeof runThrough>>) {
  const text = JSON.stringify(entries);
  for (const secret of secrets) expect(text).not.toContain(secret);
}
