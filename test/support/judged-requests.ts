// Requests for the double of the Messages API, and what it says to them.

import { MessagesDouble, type RawRequest } from '../../src/messages-double/double.ts';

const double = new MessagesDouble({
  answer: () => ({ content: [{ type: 'text', text: 'yes' }] }),
  isCredential: (credential) => credential === 'right',
  isModel: (id) => id !== 'claude-opus-9',
});
/** What a valid request has. */
export const HEADERS = { 'x-api-key': 'right', 'anthropic-version': '2026-10-21' };

/** `accepted`, or the status, type and text of the error. */
export async function judge(body: unknown, raw: Partial<RawRequest> = {}): Promise<string> {
  const [head, write] = await double.respond({
    method: 'POST',
    url: '/v1/messages',
    headers: HEADERS,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    requestId: 'req_1',
    ...raw,
  });
  if (head?.do !== 'head' || write?.do !== 'write') throw new Error('no answer');
  if (head.status === 200) return 'accepted';
  const { type, error, request_id } = JSON.parse(write.text);
  if (type !== 'error' || request_id !== 'req_1') throw new Error(`not an error of the API: ${write.text}`);
  return `${head.status} ${error.type}: ${error.message}`;
}

/** Blocks, messages and tools. */
export const text = (value: string) => ({ type: 'text', text: value });
export const user = (...content: unknown[]) => ({ role: 'user', content });
export const assistant = (...content: unknown[]) => ({ role: 'assistant', content });
export const use = (id: string, input: unknown = {}) => ({ type: 'tool_use', id, name: 'shell', input });
export const result = (id: string, content: unknown = 'ok') => ({ type: 'tool_result', tool_use_id: id, content });
export const shell = { name: 'shell', input_schema: { type: 'object' } };
export const mark = (ttl?: string) => ({ cache_control: { type: 'ephemeral', ...(ttl === undefined ? {} : { ttl }) } });
/** A request that is right. */
export const base = { model: 'claude-opus-5-5', max_tokens: 2000, tools: [shell], messages: [user(text('hello'))] };
export const withMessages = (...messages: unknown[]) => ({ ...base, messages: [user(text('hello')), ...messages] });
/** To a model without adaptive thinking. */
export const older = { ...base, model: 'claude-haiku-4-5' };

/** What is wrong, the request, the text of the error, and the nearest request that is right. */
export type Refusal = readonly [what: string, refused: unknown, error: string, accepted: unknown];
