// Errors of the model API through the gateway and the agent: how often it is asked, what the attempt
// ends with, what its Incident says, and whether another attempt would be made.

import { describe, expect, it } from 'vitest';
import { formatAgentReport, isFinalReport, readAgentReport } from '../../src/api/agent-report.ts';
import { type AskedQuestion, runModelChain, type UpstreamReply } from '../support/model-chain.ts';
import { answerWith, claim } from './answers.ts';

type Headers = Record<string, string>;

const reply =
  (status: number, body: unknown, headers: Headers = {}): UpstreamReply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
const error = (type: string, message = 'made up', more: object = {}) => ({
  ...{ type: 'error', error: { type, message, ...more }, request_id: 'req_recorded' },
});
const no = { 'x-should-retry': 'false' };

describe.concurrent('an error that passes is told on the Incident, and asked about again', () => {
  it.each<[string, number, unknown, Headers, string]>([
    [
      'a rate limit',
      429,
      error('rate_limit_error'),
      { 'retry-after-ms': '50', 'x-should-retry': 'true' },
      'RateLimited',
    ],
    ['a rate limit without headers', 429, error('rate_limit_error'), {}, 'RateLimited'],
    ['overload', 529, error('overloaded_error'), {}, 'Overloaded'],
    ['overload of AWS', 503, { message: 'x', __type: 'ServiceUnavailableException' }, {}, 'Overloaded'],
    ['a failure inside', 500, error('api_error'), {}, 'ServerError'],
    ['a failure of a model of AWS', 424, { message: 'x', __type: 'ModelErrorException' }, {}, 'ServerError'],
    ['a timeout', 504, error('timeout_error'), {}, 'ServerError'],
    ['a page of a proxy', 502, '<html>Bad Gateway</html>', {}, 'ServerError'],
    ['a conflict', 409, '', {}, 'ServerError'],
  ])('%s', async (_name, status, body, headers, reason) => {
    const failing = reply(status, body, headers);
    const result = await runModelChain({ replies: [failing, failing, answerWith(claim)] });
    expect(result).toMatchObject({ report: undefined, troubles: [reason, reason, 'none'] });
    expect(result.asked).toHaveLength(3);
    expect(result.conclusions).toHaveLength(1);
    expect(result.charges.map(({ costMicroUSD }) => costMicroUSD > 0)).toEqual([false, false, true]);
  });

  it('a model API that closes its connections', async () => {
    const hangUp: UpstreamReply = (response) => void response.socket?.destroy();
    const { troubles, conclusions } = await runModelChain({ replies: [hangUp, hangUp, answerWith(claim)] });
    expect(conclusions).toHaveLength(1);
    expect(troubles.at(0)).toBe('Unreachable');
    expect(troubles.at(-1)).toBe('none');
  });
});

describe.concurrent('an error that does not pass ends the attempt after one question, and no other is made', () => {
  it.each<[string, string, number, unknown, Headers?]>([
    ['a wrong key', 'OPLAB_MODEL_KEY_REFUSED', 401, error('authentication_error', 'invalid x-api-key')],
    ['a key without the right', 'OPLAB_MODEL_KEY_REFUSED', 403, error('permission_error')],
    ['a key that no text says is wrong', 'OPLAB_MODEL_KEY_REFUSED', 401, ''],
    ['no credit', 'OPLAB_MODEL_ACCOUNT', 400, error('invalid_request_error', 'Your credit balance is too low'), no],
    ['an own limit', 'OPLAB_MODEL_ACCOUNT', 400, error('invalid_request_error', 'specified API usage limits'), no],
    ['a payment', 'OPLAB_MODEL_ACCOUNT', 402, error('billing_error')],
    [
      'a spend limit, which only its code tells',
      'OPLAB_MODEL_ACCOUNT',
      429,
      error('rate_limit_error', 'x', { details: { error_code: 'enforced_spend_limit_reached' } }),
    ],
    ['a limit that no retry helps', 'OPLAB_MODEL_ACCOUNT', 429, error('rate_limit_error'), no],
    ['a wait beyond the deadline', 'OPLAB_MODEL_ACCOUNT', 429, error('rate_limit_error'), { 'retry-after': '3600' }],
    [
      'a budget of LiteLLM',
      'OPLAB_MODEL_ACCOUNT',
      400,
      { error: { message: 'Budget has been exceeded! Current cost: 2', type: 'budget_exceeded', code: '400' } },
    ],
    ['a quota of AWS', 'OPLAB_MODEL_ACCOUNT', 400, { message: 'x', __type: 'ServiceQuotaExceededException' }],
    [
      'billing that Google asks for',
      'OPLAB_MODEL_ACCOUNT',
      403,
      { error: { status: 'PERMISSION_DENIED', message: 'This API method requires billing to be enabled.' } },
    ],
    ['an unknown model', 'OPLAB_MODEL_UNKNOWN', 404, error('not_found_error', 'model: claude-opus-9')],
    ['another place', 'OPLAB_MODEL_UNKNOWN', 301, '', { location: '/' }],
    [
      'too much output',
      'OPLAB_MODEL_REFUSED',
      400,
      error('invalid_request_error', 'max_tokens: 128000 > 64000, which is the maximum'),
      no,
    ],
    ['a field', 'OPLAB_MODEL_REFUSED', 400, error('invalid_request_error', 'messages.3: field required'), no],
    [
      'a key that Google calls an argument',
      'OPLAB_MODEL_KEY_REFUSED',
      400,
      { error: { status: 'INVALID_ARGUMENT', message: 'API key not valid. Please pass a valid API key.' } },
    ],
    ['a signature of AWS', 'OPLAB_MODEL_KEY_REFUSED', 403, { message: 'x', __type: 'SignatureDoesNotMatch' }],
    [
      'a clock that is wrong, for AWS',
      'OPLAB_MODEL_KEY_REFUSED',
      403,
      { message: 'Signature expired', __type: 'InvalidSignatureException' },
    ],
    [
      'a token of AWS that no one knows',
      'OPLAB_MODEL_KEY_REFUSED',
      403,
      { message: 'x', __type: 'InvalidClientTokenId' },
    ],
    [
      'a context that is full, with nothing to trim',
      'OPLAB_CONTEXT_FULL',
      400,
      error('invalid_request_error', 'prompt is too long: 2 tokens > 1 maximum'),
      no,
    ],
  ])('%s', async (_name, code, status, body, headers) => {
    const { asked, report, conclusions, troubles, charges } = await runModelChain({
      replies: [reply(status, body, headers)],
    });
    expect(report).toMatchObject({ code });
    expect(asked).toHaveLength(1);
    expect([conclusions, troubles]).toEqual([[], ['none']]);
    expect(charges.map(({ costMicroUSD }) => costMicroUSD)).toEqual([0]);
    // The controller reads it from the pod: the Incident ends with it, and says what to do.
    const read = readAgentReport(formatAgentReport(report ?? { message: '' }));
    expect(isFinalReport(read ?? {})).toBe(true);
    expect(read?.message).toMatch(/[^:]+: .+; it says/);
  });
});

/** Ten calls, whose results are long enough to be shortened. */
const looks = answerWith({
  thinking: 'hm',
  calls: Array.from({ length: 10 }, (_, index) => ({ name: 'shell', input: { command: `c${index}`, purpose: 'see' } })),
});
const size = (question: AskedQuestion | undefined) => JSON.stringify(question?.messages).length;
const thoughts = (question: AskedQuestion | undefined) =>
  JSON.stringify(question?.messages).split('"type":"thinking"').length - 1;

describe.concurrent('a conversation that is too long is trimmed once, and asked again', () => {
  it.each<[string, number, unknown]>([
    ['Anthropic', 400, error('invalid_request_error', 'prompt is too long: 1012345 tokens > 1000000 maximum')],
    [
      'Anthropic, with the output',
      400,
      error('invalid_request_error', 'input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000'),
    ],
    ['too many bytes', 413, error('request_too_large')],
    ['too many bytes for a proxy', 413, '<html>413</html>'],
    [
      'vLLM',
      400,
      { error: { message: "This model's maximum context length is 32768 tokens.", type: 'BadRequestError' } },
    ],
    ['llama.cpp', 400, { error: { code: 400, message: 'x', type: 'exceed_context_size_error', n_ctx: 4096 } }],
    ['LiteLLM', 400, { error: { message: 'litellm.ContextWindowExceededError: prompt is too long' } }],
    ['a server that has a code for it', 400, { error: { message: 'x', code: 'context_length_exceeded' } }],
    ['AWS', 400, { message: 'Input is too long for requested model.', __type: 'ValidationException' }],
  ])('%s', async (_name, status, body) => {
    const { asked, conclusions, report } = await runModelChain({
      replies: [looks, reply(status, body, no), answerWith(claim)],
      output: () => 'a line of a long list\n'.repeat(200),
    });
    expect([report, conclusions.length, asked.length]).toEqual([undefined, 1, 3]);
    expect(size(asked[2])).toBeLessThan(size(asked[1]) * 0.7);
  });
});

describe.concurrent('thinking that is not taken back is left out, and then not asked for', () => {
  const refused = (message: string) => reply(400, error('invalid_request_error', message), no);
  it.each([
    'messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the block',
    'messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.',
  ])('%s', async (message) => {
    const { asked, conclusions } = await runModelChain({ replies: [looks, refused(message), answerWith(claim)] });
    expect([conclusions.length, asked.length]).toEqual([1, 3]);
    expect(asked.map(thoughts)).toEqual([0, 1, 0]);
    expect(asked.map(({ thinking }) => thinking?.type)).toEqual(['adaptive', 'adaptive', 'adaptive']);
  });

  it('adaptive thinking is not supported on this model', async () => {
    const { asked, conclusions } = await runModelChain({
      replies: [refused('adaptive thinking is not supported on this model'), answerWith(claim)],
      model: { name: 'claude-opus-4-8', thinking: 'adaptive' },
    });
    expect([conclusions.length, asked.length]).toEqual([1, 2]);
    expect(asked.map(({ thinking }) => thinking?.type)).toEqual(['adaptive', undefined]);
  });
});

it('a refusal is told to the fallback model, once, without the thoughts of the first', async () => {
  const declined = answerWith({ stop: 'refusal', category: 'cyber' });
  const model = { fallbackName: 'claude-opus-4-8' };
  const helped = await runModelChain({ model, replies: [looks, declined, answerWith(claim)] });
  expect(helped.asked.map(({ model: name }) => name)).toEqual([
    'claude-opus-5-5',
    'claude-opus-5-5',
    'claude-opus-4-8',
  ]);
  expect(helped.asked.map(thoughts)).toEqual([0, 1, 0]);
  expect(helped.conclusions).toHaveLength(1);

  const twice = await runModelChain({ model, replies: [declined, declined, answerWith(claim)] });
  expect(twice.asked).toHaveLength(2);
  expect(twice.report).toMatchObject({
    code: 'OPLAB_MODEL_DECLINED',
    message: expect.stringContaining('claude-opus-4-8 declined to continue (category cyber)'),
  });
});
