// What the double refuses beside the conversation: fields, limits of models, tools, marks, headers. Each
// beside the nearest request that it accepts.

import { describe, expect, it } from 'vitest';
import {
  assistant,
  base,
  HEADERS,
  judge,
  mark,
  older,
  type Refusal,
  result,
  shell,
  text,
  use,
  user,
  withMessages,
} from '../../test/support/judged-requests.ts';
import { modelRules } from './model-rules.ts';
import { PARAMETER_RULES } from './parameter-rules.ts';
import { VERSIONS } from './request.ts';
import { MAX_BODY_BYTES } from './validate.ts';

const refusals: readonly Refusal[] = [
  ['an unknown field', { ...base, extra: 1 }, 'extra: Extra inputs are not permitted', base],
  [
    'an unknown field of a block',
    withMessages(assistant({ ...text('a'), extra: 1 }), user(text('b'))),
    'messages.1.content.0.extra: Extra inputs are not permitted',
    withMessages(assistant(text('a')), user(text('b'))),
  ],
  [
    'an unknown field of a tool',
    { ...base, tools: [{ ...shell, extra: 1 }] },
    'tools.0.extra: Extra inputs are not permitted',
    { ...base, tools: [{ ...shell, strict: true }] },
  ],
  [
    'an unknown field of a mark',
    { ...base, system: [{ ...text('a'), cache_control: { type: 'ephemeral', extra: 1 } }] },
    'system.0.cache_control.extra: Extra inputs are not permitted',
    { ...base, system: [{ ...text('a'), ...mark() }] },
  ],
  [
    'an unknown field of output_config',
    { ...base, output_config: { extra: 1 } },
    'output_config.extra: Extra inputs are not permitted',
    { ...base, output_config: { effort: 'high' } },
  ],
  [
    'a field of the API that the double does not serve',
    { ...base, container: 'x' },
    'container: the API has this field, but the double does not serve it',
    base,
  ],
  ['no max_tokens', { ...base, max_tokens: undefined }, 'max_tokens: Field required', base],
  ['max_tokens of 0', { ...base, max_tokens: 0 }, 'max_tokens: Input should be greater than or equal to 1', base],
  ['a number as text', { ...base, max_tokens: '5' }, 'max_tokens: Input should be a valid number', base],
  ['messages that are no list', { ...base, messages: 'a' }, 'messages: Input should be a valid list', base],
  [
    'a block of another kind',
    { ...base, messages: [user({ type: 'image', source: {} })] },
    "messages.0.content.0.type: Input tag 'image' found using 'type' does not match any of the expected tags (the API has it, but the double does not serve it)",
    base,
  ],
  [
    'a block of no kind',
    { ...base, messages: [user({ text: 'a' })] },
    'messages.0.content.0.type: Field required',
    base,
  ],
  [
    'max_tokens above what the model writes',
    { ...older, max_tokens: 128_000 },
    'max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5',
    { ...older, max_tokens: 64_000 },
  ],
  ['a temperature', { ...base, temperature: 1 }, 'temperature: Extra inputs are not permitted', base],
  [
    'adaptive thinking of a model that has none',
    { ...older, thinking: { type: 'adaptive' } },
    'adaptive thinking is not supported on this model',
    { ...base, thinking: { type: 'adaptive', display: 'summarized' } },
  ],
  [
    'thinking with a budget on a newer model',
    { ...base, thinking: { type: 'enabled', budget_tokens: 1024 } },
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
    { ...older, thinking: { type: 'enabled', budget_tokens: 1024 } },
  ],
  [
    'no thinking on a model that always thinks',
    { ...base, thinking: { type: 'disabled' } },
    '"thinking.type.disabled" is not supported for this model.',
    { ...base, model: 'claude-sonnet-5-5', thinking: { type: 'disabled' } },
  ],
  [
    'a budget below the least',
    { ...older, thinking: { type: 'enabled', budget_tokens: 1000 } },
    'thinking.budget_tokens: Input should be greater than or equal to 1024',
    { ...older, thinking: { type: 'enabled', budget_tokens: 1999 } },
  ],
  [
    'a budget of all tokens',
    { ...older, thinking: { type: 'enabled', budget_tokens: 2000 } },
    '`max_tokens` must be greater than `thinking.budget_tokens`.',
    { ...older, thinking: { type: 'enabled', budget_tokens: 1999 } },
  ],
  [
    'a forced call while it thinks',
    { ...base, tool_choice: { type: 'any' } },
    'Thinking may not be enabled when tool_choice forces tool use.',
    { ...older, tool_choice: { type: 'any' } },
  ],
  [
    'effort on a model without',
    { ...older, output_config: { effort: 'low' } },
    'This model does not support the effort parameter.',
    { ...base, output_config: { effort: 'low' } },
  ],
  [
    'an effort that the model does not have',
    { ...base, model: 'claude-opus-4-6', output_config: { effort: 'xhigh' } },
    "output_config.effort: This model does not support effort level 'xhigh'. Supported levels: low, medium, high, max.",
    { ...base, model: 'claude-opus-4-6', output_config: { effort: 'max' } },
  ],
  [
    'two tools of one name',
    { ...base, tools: [shell, shell] },
    'tools: Tool names must be unique.',
    { ...base, tools: [shell, { ...shell, name: 'conclude' }] },
  ],
  [
    'the name of a tool',
    { ...base, tools: [{ ...shell, name: 'my tool' }] },
    "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    { ...base, tools: [{ ...shell, name: 'my-tool' }] },
  ],
  [
    'a choice without tools',
    { ...base, tools: [], tool_choice: { type: 'auto' } },
    'tool_choice: may only be specified while providing tools.',
    { ...base, tool_choice: { type: 'auto' } },
  ],
  [
    'a choice of another tool',
    { ...older, tool_choice: { type: 'tool', name: 'bash' } },
    "Tool 'bash' not found in provided tools",
    { ...older, tool_choice: { type: 'tool', name: 'shell' } },
  ],
  [
    'five marks',
    { ...base, system: [1, 2, 3, 4, 5].map((n) => ({ ...text(`${n}`), ...mark() })) },
    'A maximum of 4 blocks with cache_control may be provided. Found 5.',
    { ...base, system: [1, 2, 3, 4].map((n) => ({ ...text(`${n}`), ...mark() })) },
  ],
  [
    'a fifth mark inside of a result',
    {
      ...withMessages(assistant(use('a')), user(result('a', [{ ...text('b'), ...mark() }]))),
      system: [1, 2, 3, 4].map((n) => ({ ...text(`${n}`), ...mark() })),
    },
    'A maximum of 4 blocks with cache_control may be provided. Found 5.',
    {
      ...withMessages(assistant(use('a')), user(result('a', [{ ...text('b'), ...mark() }]))),
      system: [1, 2, 3].map((n) => ({ ...text(`${n}`), ...mark() })),
    },
  ],
  [
    'another lifetime',
    { ...base, system: [{ ...text('a'), ...mark('2h') }] },
    "system.0.cache_control.ttl: Input should be '5m' or '1h'",
    { ...base, system: [{ ...text('a'), ...mark('1h') }] },
  ],
  [
    'an hour behind five minutes',
    { ...base, tools: [{ ...shell, ...mark() }], system: [{ ...text('a'), ...mark('1h') }] },
    "system.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    { ...base, tools: [{ ...shell, ...mark('1h') }], system: [{ ...text('a'), ...mark() }] },
  ],
  [
    'a mark on thinking',
    withMessages(assistant({ type: 'thinking', thinking: 'a', signature: 'b', ...mark() }, text('a')), user(text('b'))),
    'messages.1.content.0.cache_control: Extra inputs are not permitted',
    withMessages(assistant({ ...text('a'), ...mark() }), user(text('b'))),
  ],
  [
    'a prompt longer than the window',
    { ...older, messages: [user(text('x'.repeat(1_000_000)))] },
    'prompt is too long: 250025 tokens > 200000 maximum',
    { ...base, messages: [user(text('x'.repeat(1_000_000)))] },
  ],
  [
    'a prompt and an answer longer than the window of an older model',
    { ...older, max_tokens: 60_000, messages: [user(text('x'.repeat(600_000)))] },
    'input length and `max_tokens` exceed context limit: 150025 + 60000 > 200000, decrease input length or `max_tokens` and try again',
    { ...older, max_tokens: 40_000, messages: [user(text('x'.repeat(600_000)))] },
  ],
];

describe('the double refuses', () => {
  it.each(refusals)('%s', async (_what, refused, error, accepted) => {
    expect(await judge(refused)).toBe(`400 invalid_request_error: ${error}`);
    expect(await judge(accepted)).toBe('accepted');
  });

  it('a model that there is not', async () => {
    expect(await judge({ ...base, model: 'claude-opus-9' })).toBe('404 not_found_error: model: claude-opus-9');
    expect(await judge(base)).toBe('accepted');
  });

  it.each([
    ['no JSON', '{"model":', '400 invalid_request_error: The request body is not valid JSON'],
    [
      'half of a surrogate pair',
      JSON.stringify(base).replace('hello', '\\ud83d'),
      '400 invalid_request_error: The request body is not valid JSON: no low surrogate in string',
    ],
    ['a list', '[]', '400 invalid_request_error: Input should be a valid dictionary'],
    [
      'JSON that is nested without end',
      `${'[{"a":'.repeat(5000)}1${'}]'.repeat(5000)}`,
      '400 invalid_request_error: Input should be a valid dictionary',
    ],
    [
      'a body that is nested without end',
      JSON.stringify(base).replace('"hello"', `${'['.repeat(5000)}${']'.repeat(5000)}`),
      '400 invalid_request_error: The request body is nested too deeply',
    ],
  ])('%s', async (_what, body, error) => {
    expect(await judge(body)).toContain(error);
  });

  it('no whole surrogate pair, nor the text of an escape', async () => {
    expect(await judge(JSON.stringify(base).replace('hello', '\\ud83d\\ude00'))).toBe('accepted');
    expect(await judge(JSON.stringify(base).replace('hello', '\\\\ud83d'))).toBe('accepted');
  });

  it('bytes that are no UTF-8, and more of them than the API takes', async () => {
    const bytes = Buffer.from(JSON.stringify(base).replace('hello', '\xff'), 'latin1');
    expect(await judge(base, { body: bytes })).toContain('The request body is not valid JSON');
    expect(await judge(base, { body: undefined })).toBe('413 request_too_large: Request exceeds the maximum size');
    expect(MAX_BODY_BYTES).toBe(32 * 1024 * 1024);
  });

  it.each([
    ['no credential', { 'x-api-key': undefined }, '401 authentication_error: x-api-key header is required'],
    ['another key', { 'x-api-key': 'wrong' }, '401 authentication_error: invalid x-api-key'],
    [
      'another token',
      { 'x-api-key': undefined, authorization: 'Bearer wrong' },
      '401 authentication_error: Invalid bearer token',
    ],
    [
      'no version',
      { 'anthropic-version': undefined },
      '400 invalid_request_error: anthropic-version: header is required',
    ],
    [
      'another version',
      { 'anthropic-version': '2027-01-01' },
      '400 invalid_request_error: anthropic-version: "2027-01-01" is not a valid version',
    ],
    [
      'an unknown beta',
      { 'anthropic-beta': 'interleaved-thinking-2025-05-14,future-2030-01-01' },
      '400 invalid_request_error: Unexpected value(s) `future-2030-01-01` for the `anthropic-beta` header. Please consult our documentation or try again without the header.',
    ],
  ])('%s', async (_what, headers, error) => {
    expect(await judge(base, { headers: { ...HEADERS, ...headers } })).toBe(error);
  });

  it.each([
    ['a bearer token', { 'x-api-key': undefined, authorization: 'Bearer right' }],
    ['a beta that it knows', { 'anthropic-beta': 'interleaved-thinking-2025-05-14' }],
    ['the version before', { 'anthropic-version': '2023-06-01' }],
  ])('but not %s', async (_what, headers) => {
    expect(await judge(base, { headers: { ...HEADERS, ...headers } })).toBe('accepted');
  });

  it('in the version before, sampling on models that no longer take it', async () => {
    const before = { headers: { ...HEADERS, 'anthropic-version': '2023-06-01' } };
    const refuse = (message: string) => `400 invalid_request_error: ${message}`;
    expect(await judge({ ...base, temperature: 0 }, before)).toBe(
      refuse('`temperature` is deprecated for this model.'),
    );
    expect(await judge({ ...base, top_k: 1 }, before)).toBe(refuse('`top_k` is deprecated for this model.'));
    expect(await judge({ ...older, temperature: 0, top_p: 0.5 }, before)).toBe(
      refuse('`temperature` and `top_p` cannot both be specified for this model. Please use only one.'),
    );
    expect(await judge({ ...older, temperature: 0, thinking: { type: 'enabled', budget_tokens: 1024 } }, before)).toBe(
      refuse('`temperature` may only be set to 1 when thinking is enabled.'),
    );
    expect(await judge({ ...older, temperature: 0 }, before)).toBe('accepted');
    expect(await judge({ ...older, temperature: 0 })).toBe(refuse('temperature: Extra inputs are not permitted'));
  });
});

it('each of these rules is broken by a request of this file', () => {
  const sampling = { ...base, temperature: 0 };
  const broken = [...refusals.map(([, refused]) => refused), sampling].flatMap(
    (body) => VERSIONS['2023-06-01'].safeParse(body).data ?? [],
  );
  for (const rule of PARAMETER_RULES) {
    const breaks = broken.some((request) => rule(request, modelRules(request.model)) !== undefined);
    expect(breaks, rule.name).toBe(true);
  }
});

it('counts the tokens of a prompt, and refuses what it refuses as a question', async () => {
  const url = '/v1/messages/count_tokens';
  const { max_tokens: _, ...question } = base;
  expect(await judge(question, { url })).toBe('accepted');
  expect(await judge(base, { url })).toBe('400 invalid_request_error: max_tokens: Extra inputs are not permitted');
  expect(await judge({ ...question, messages: [] }, { url })).toContain('at least one message is required');
});
