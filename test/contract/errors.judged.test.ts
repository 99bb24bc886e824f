// Errors of the Messages API and of servers that imitate it: which pass, and what the others mean.
// The texts are made up or shortened; types, codes and statuses are those of the vendors' documentation.

import { describe, expect, it } from 'vitest';
import { judgeModelError, MODEL_ERROR_FIX, type ModelError } from '../../src/api/model-error.ts';

const anthropic = (type: string, message: string, details?: object) => ({
  type: 'error',
  error: { type, message, ...(details === undefined ? {} : { details }) },
  request_id: 'req_1',
});
const code = (status: number | undefined, body: unknown, shouldRetry?: string) =>
  judgeModelError({ status, body, shouldRetry }).code;

describe('an error that passes', () => {
  it.each<[string, ModelError]>([
    ['a rate limit', { status: 429, body: anthropic('rate_limit_error', 'slow down'), shouldRetry: 'true' }],
    ['a rate limit without a header', { status: 429, body: anthropic('rate_limit_error', 'slow down') }],
    ['a failure inside', { status: 500, body: anthropic('api_error', 'Internal server error') }],
    ['overload', { status: 529, body: anthropic('overloaded_error', 'Overloaded') }],
    ['overload, told inside of a stream', { status: undefined, body: anthropic('overloaded_error', 'Overloaded') }],
    ['a failure, told inside of a stream', { status: undefined, body: anthropic('api_error', 'Internal') }],
    ['an unknown type inside of a stream', { status: undefined, body: anthropic('new_error', 'x') }],
    ['a timeout of a proxy', { status: 504, body: '<html>504 Gateway Time-out</html>' }],
    ['a conflict', { status: 409, body: '' }],
    ['throttling by AWS', { status: 429, body: { message: 'Too many requests', __type: 'ThrottlingException' } }],
    ['a model of AWS that loads', { status: 429, body: { message: 'wait', __type: 'x#ModelNotReadyException' } }],
    [
      'a quota of Google',
      { status: 429, body: [{ error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'q' } }] },
    ],
    ['Google, down', { status: 503, body: { error: { code: 503, status: 'UNAVAILABLE', message: 'x' } } }],
  ])('%s', (_what, error) => {
    expect(judgeModelError(error).code).toBeUndefined();
  });
});

describe('the key', () => {
  it.each<[string, number | undefined, unknown]>([
    ['is wrong', 401, anthropic('authentication_error', 'invalid x-api-key')],
    ['may not use the model', 403, anthropic('permission_error', 'no access')],
    ['is wrong, told inside of a stream', undefined, anthropic('authentication_error', 'x')],
    ['is wrong, for LiteLLM', 401, { error: { message: 'Authentication Error', type: 'auth_error', code: '401' } }],
    ['is wrong, for vLLM', 401, { error: 'Unauthorized' }],
    ['has ended, for AWS', 403, { message: 'The security token is expired', __type: 'ExpiredTokenException' }],
    ['has no right, for Google', 403, [{ error: { code: 403, status: 'PERMISSION_DENIED', message: 'denied' } }]],
    ['is refused by a proxy', 403, '<html>Forbidden</html>'],
    ['is asked for by a proxy', 407, ''],
  ])('%s', (_what, status, body) => {
    expect(code(status, body)).toBe('OPLAB_MODEL_KEY_REFUSED');
  });
});

describe('the account', () => {
  it.each<[string, number, unknown, string?]>([
    ['has no credit', 400, anthropic('invalid_request_error', 'Your credit balance is too low to access the API.')],
    [
      'is at its own limit',
      400,
      anthropic('invalid_request_error', 'You have reached your specified API usage limits.'),
    ],
    ['has to pay', 402, anthropic('billing_error', 'made up')],
    [
      'is at its spend limit, told by a code alone',
      429,
      anthropic('rate_limit_error', 'made up', { error_code: 'enforced_spend_limit_reached' }),
    ],
    [
      'is at the limit of its contract',
      429,
      anthropic('rate_limit_error', 'made up', { error_code: 'contract_spend_limit_reached' }),
      'false',
    ],
    ['is at a limit that no retry helps', 429, anthropic('rate_limit_error', 'made up'), 'false'],
    ['has no credit at OpenRouter', 402, { error: { code: 402, message: 'Insufficient credits' } }],
    ['has no quota', 429, { error: { message: 'made up', type: 'insufficient_quota', code: 'insufficient_quota' } }],
  ])('%s', (_what, status, body, shouldRetry) => {
    expect(code(status, body, shouldRetry)).toBe('OPLAB_MODEL_ACCOUNT');
  });
});

describe('the model', () => {
  it.each<[string, number, unknown]>([
    ['does not exist', 404, anthropic('not_found_error', 'model: claude-opus-9')],
    ['does not exist, for vLLM', 404, { error: { message: 'The model `x` does not exist.', type: 'NotFoundError' } }],
    ['does not exist, for AWS', 400, { message: 'The provided model identifier is invalid.' }],
    ['does not exist, for ollama', 404, { error: "model 'x' not found" }],
    ['does not exist, for Google', 404, [{ error: { code: 404, status: 'NOT_FOUND', message: 'Publisher Model x' } }]],
    ['has no Messages API at this address', 404, '<html>404</html>'],
    ['is somewhere else', 405, { detail: 'Method Not Allowed' }],
  ])('%s', (_what, status, body) => {
    expect(code(status, body)).toBe('OPLAB_MODEL_UNKNOWN');
  });
});

describe('the conversation is too long', () => {
  it.each<[string, number | undefined, unknown]>([
    ['', 400, anthropic('invalid_request_error', 'prompt is too long: 1012345 tokens > 1000000 maximum')],
    ['in bytes', 413, anthropic('request_too_large', 'Request exceeds the maximum size')],
    ['for a proxy', 413, '<html>413 Request Entity Too Large</html>'],
    [
      'with its output',
      400,
      anthropic('invalid_request_error', 'input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000'),
    ],
    ['for vLLM', 400, { error: { message: "This model's maximum context length is 32768 tokens.", code: 400 } }],
    [
      'for llama.cpp',
      400,
      { error: { code: 400, type: 'exceed_context_size_error', message: 'request (5000 tokens) exceeds n_ctx' } },
    ],
    ['for llama.cpp, by its text', 400, { error: { message: 'the request exceeds the available context size' } }],
    ['for LiteLLM', 400, { error: { message: 'litellm.ContextWindowExceededError: … prompt is too long: 203062' } }],
    [
      'for LiteLLM, which calls it a failure of its own',
      500,
      { error: { message: 'ContextWindowExceededError: too many input tokens' } },
    ],
    ['for AWS', 400, { message: 'Input is too long for requested model.' }],
    [
      'for Google',
      400,
      { error: { status: 'INVALID_ARGUMENT', message: 'The input token count (2) exceeds the maximum' } },
    ],
    [
      'told inside of a stream',
      undefined,
      anthropic('invalid_request_error', 'prompt is too long: 2 tokens > 1 maximum'),
    ],
  ])('%s', (_what, status, body) => {
    expect(code(status, body)).toBe('OPLAB_CONTEXT_FULL');
  });
});

it.each([
  'adaptive thinking is not supported on this model',
  'messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.',
  '`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified',
])('thinking is refused: %s', (message) => {
  expect(code(400, anthropic('invalid_request_error', message))).toBe('OPLAB_THINKING_REFUSED');
});

it.each<[string, number, unknown]>([
  [
    'too much output for the model',
    400,
    anthropic(
      'invalid_request_error',
      'max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5',
    ),
  ],
  [
    'a field',
    400,
    anthropic('invalid_request_error', 'messages.3: tool_use ids were found without tool_result blocks'),
  ],
  ['a field, for FastAPI', 422, { detail: [{ loc: ['body'], msg: 'x' }] }],
  ['a teapot', 418, ''],
])('the request is refused: %s', (_what, status, body) => {
  expect(code(status, body)).toBe('OPLAB_MODEL_REFUSED');
});

it('has a verdict on one line for whatever a server says, and a fix for each code', () => {
  const bodies: unknown[] = [
    undefined,
    null,
    1,
    [],
    {},
    { error: null },
    { error: [] },
    'a\n b',
    { error: { message: 5 } },
  ];
  for (const body of bodies) {
    for (const status of [undefined, 100, 300, 400, 401, 404, 429, 499, 500, 599]) {
      const { message } = judgeModelError({ status, body });
      expect(message).toMatch(/^\S(?:[^\n]*\S)?$/);
    }
  }
  expect(judgeModelError({ status: 400, body: 'x'.repeat(100_000) }).message.length).toBeLessThan(600);
  for (const fix of Object.values(MODEL_ERROR_FIX)) expect(fix).toMatch(/: /);
});
