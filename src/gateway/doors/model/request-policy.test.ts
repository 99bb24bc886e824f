// Which requests to the model are allowed, and what they cost the gateway.

import { describe, expect, it } from 'vitest';
import { InvalidInput, NotAllowed } from '../../../errors.ts';
import { admitRequest, checkBetas } from './request-policy.ts';

const allowed = {
  name: 'default',
  generation: 1,
  mode: 'Repair' as const,
  model: 'big',
  summaryModel: 'small',
  maxOutputTokens: 1000,
};
const admit = (body: object, snapshot = allowed) =>
  admitRequest(Buffer.from(JSON.stringify({ model: 'big', max_tokens: 100, messages: [], ...body })), snapshot);
const refused = (body: object) => {
  try {
    admit(body);
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
  return 'admitted';
};

describe('admitRequest', () => {
  it('forwards what was checked, not what was sent', () => {
    const body = Buffer.from('{"model":"small","max_tokens":1,"messages":[],"model":"big"}');
    expect(JSON.parse(admitRequest(body, allowed).body.toString())).toEqual({
      model: 'big',
      max_tokens: 1,
      messages: [],
    });
  });

  it('admits a conversation with thinking, tools and cache marks untouched', () => {
    const body = {
      system: [{ type: 'text', text: 'you are', cache_control: { type: 'ephemeral' } }],
      tools: [
        { name: 'shell', description: '', input_schema: { type: 'object' } },
        { type: 'custom', name: 'conclude' },
      ],
      thinking: { type: 'adaptive' },
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: 'x' },
            {
              type: 'tool_use',
              id: 't',
              name: 'shell',
              input: { type: 'image', source: { type: 'url', url: 'https://x' } },
            },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'ok' }] },
      ],
    };
    const admitted = admit(body);
    expect(JSON.parse(admitted.body.toString())).toEqual({ model: 'big', max_tokens: 100, ...body });
    expect(admitted).toMatchObject({ turn: true, cacheLife: '5m' });
  });

  it('finds the longest requested cache lifetime in any block', () => {
    const cached = { type: 'text', text: '', cache_control: { type: 'ephemeral', ttl: '1h' } };
    expect(admit({ messages: [{ role: 'user', content: [cached] }] }).cacheLife).toBe('1h');
    expect(admit({ cache_control: { type: 'ephemeral' } }).cacheLife).toBe('5m');
    expect(admit({}).cacheLife).toBe('none');
  });

  it('distinguishes turns from summaries, even if one model does both', () => {
    expect(admit({}).turn).toBe(true);
    expect(admit({ model: 'small' }).turn).toBe(false);
    const one = { ...allowed, summaryModel: 'big' };
    expect(admit({}, one).turn).toBe(false);
    expect(admit({ tools: [{ name: 'shell' }] }, one).turn).toBe(true);
  });

  it.each<[string, object]>([
    ['does not allow model huge', { model: 'huge' }],
    ['max_tokens 1001', { max_tokens: 1001 }],
    ['tool type web_fetch', { tools: [{ type: 'web_fetch_20260318', name: 'web_fetch' }] }],
    ['tool type bash', { tools: [{ type: 'bash_20250124', name: 'bash' }] }],
    ['mcp_servers', { mcp_servers: [] }],
    ['container', { container: 'x' }],
    ['fallbacks', { fallbacks: [{ model: 'huge' }] }],
    ['price table', { service_tier: 'auto' }],
    ['price table', { speed: 'fast' }],
    ['the request is not valid', { unheard_of: true }],
    [
      'block of type document',
      { messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'url', url: 'https://x' } }] }] },
    ],
    [
      'block of type image',
      { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', file_id: 'x' } }] }] },
    ],
    [
      'block of type image',
      {
        system: [{ type: 'text', text: '' }],
        messages: [
          {
            role: 'user',
            content: [
              {
                type: 'tool_result',
                tool_use_id: 't',
                content: [{ type: 'image', source: { type: 'url', url: 'x' } }],
              },
            ],
          },
        ],
      },
    ],
    ...['image', 'document', 'container_upload', 'search_result', 'made_up'].flatMap((type): [string, object][] => {
      const inline = { type, source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } };
      const refusal = `block of type ${type}`;
      return [
        [refusal, { messages: [{ role: 'user', content: [inline] }] }],
        [
          refusal,
          { messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: [inline] }] }] },
        ],
        [refusal, { messages: [], system: [inline] }],
      ];
    }),
    ['messages[0].content must be', { messages: [{ role: 'user', content: { type: 'image' } }] }],
    ['messages[0].content must be', { messages: ['hello'] }],
    ['system must be', { system: { type: 'image' } }],
  ])('refuses: %s', (message, body) => {
    expect(refused(body)).toContain(message);
  });
});

describe('a request costs the gateway little, whatever it holds', () => {
  const MIB = 1024 * 1024;
  const call = (input: string) =>
    `{"model":"big","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_use","input":${input}}]}]}`;
  it.each<[string, string]>([
    ['lists', call(`[${'[],'.repeat(MIB)}1]`)],
    ['objects', call(`[${'{},'.repeat(MIB)}1]`)],
    ['fields', call(`{${Array.from({ length: 200_000 }, (_, index) => `"k${index}":1`).join(',')}}`)],
    ['unknown fields', `{${Array.from({ length: 100_000 }, (_, index) => `"k${index}":1`).join(',')}}`],
    ['tools that are none', `{"model":"big","max_tokens":1,"messages":[],"tools":[${'1,'.repeat(200_000)}1]}`],
  ])('many %s', (_what, text) => {
    const started = process.threadCpuUsage();
    try {
      admitRequest(Buffer.from(text), allowed);
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidInput);
    }
    // Of this thread alone, as the machine may be busy.
    const { user, system } = process.threadCpuUsage(started);
    expect((user + system) / 1000).toBeLessThan(2500);
  });

  it('levels without end are refused', () => {
    const deep = (depth: number) => call(`${'['.repeat(depth)}${']'.repeat(depth)}`);
    for (const depth of [5000, 100_000]) {
      expect(() => admitRequest(Buffer.from(deep(depth)), allowed)).toThrow(InvalidInput);
    }
    const inner = (depth: number): string =>
      depth === 0 ? '"x"' : `[{"type":"tool_result","tool_use_id":"t","content":${inner(depth - 1)}}]`;
    const body = `{"model":"big","max_tokens":1,"messages":[{"role":"user","content":${inner(2)}}]}`;
    expect(() => admitRequest(Buffer.from(body), allowed)).toThrow(
      'block of type tool_result is not allowed; use text',
    );
  });

  it('bytes that are not UTF-8 are refused, which would become three each', () => {
    const body = Buffer.from(call('"?"'));
    body[body.indexOf('?')] = 0xff;
    expect(() => admitRequest(body, allowed)).toThrow(InvalidInput);
  });
});

it('a cache lifetime without a price counts as the longest', () => {
  expect(admit({ cache_control: { type: 'ephemeral', ttl: '24h' } }).cacheLife).toBe('1h');
  expect(admit({ cache_control: { type: 'ephemeral', ttl: 3600 } }).cacheLife).toBe('1h');
  expect(admit({ cache_control: { type: 'ephemeral', ttl: '5m' } }).cacheLife).toBe('5m');
});

it('only features in beta that cost nothing may be asked for', () => {
  checkBetas(undefined);
  checkBetas(['interleaved-thinking-2025-05-14, extended-cache-ttl-2025-04-11', '']);
  for (const beta of ['context-1m-2025-08-07', 'interleaved-thinking-2025-05-14,mcp-client-2025-11-20', 'made-up']) {
    expect(() => checkBetas(beta)).toThrow(NotAllowed);
  }
});
