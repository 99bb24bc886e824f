// Which requests to the model are allowed, and the upper bound on their tokens.

import { describe, expect, it } from 'vitest';
import { admitRequest, promptTokenBound } from './request-policy.ts';

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

describe('promptTokenBound', () => {
  it('does not believe that text of extreme density, such as blanks, is followed by more of it', () => {
    expect(promptTokenBound(5_000_000, { bytes: 5_000_000, tokens: 2000 })).toBeGreaterThan(1_000_000);
  });

  it('is generous at first, and close to the known density after an answer', () => {
    expect(promptTokenBound(10_000, undefined)).toBe(10_000);
    // 10,000 bytes were 3,000 tokens; 1,000 more bytes can be 1,000 at most.
    expect(promptTokenBound(11_000, { bytes: 10_000, tokens: 3000 })).toBe(4900);
    expect(promptTokenBound(100, { bytes: 10_000, tokens: 9000 })).toBe(100);
  });
});
