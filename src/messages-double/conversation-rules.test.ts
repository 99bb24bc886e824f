// What the double refuses of a conversation: its order, its blocks, calls and results. Each beside the
// nearest conversation that it accepts.

import { describe, expect, it } from 'vitest';
import {
  assistant,
  base,
  judge,
  mark,
  type Refusal,
  result,
  text,
  use,
  user,
  withMessages,
} from '../../test/support/judged-requests.ts';
import { CONVERSATION_RULES } from './conversation-rules.ts';
import { modelRules } from './model-rules.ts';
import { VERSIONS } from './request.ts';

const refusals: readonly Refusal[] = [
  ['no message', { ...base, messages: [] }, 'messages: at least one message is required', base],
  [
    'an assistant first',
    { ...base, messages: [assistant(text('a')), user(text('b'))] },
    'messages: first message must use the "user" role',
    base,
  ],
  [
    'an answer that is begun',
    withMessages(assistant(text('a'))),
    'This model does not support assistant message prefill. The conversation must end with a user message.',
    { ...withMessages(assistant(text('a'))), model: 'claude-haiku-4-5' },
  ],
  [
    'a message in the role of the system',
    withMessages({ role: 'system', content: 'a' }),
    'messages.1.role: the API has this field, but the double does not serve it',
    { ...base, system: 'a' },
  ],
  [
    'an empty message',
    withMessages(assistant(), user(text('a'))),
    'messages.1: all messages must have non-empty content except for the optional final assistant message',
    withMessages(user(text('a'))),
  ],
  [
    'an empty text',
    withMessages(assistant(text('')), user(text('b'))),
    'messages: text content blocks must be non-empty',
    withMessages(assistant(text('a')), user(text('b'))),
  ],
  [
    'a blank text',
    withMessages(assistant(text(' \n')), user(text('b'))),
    'messages: text content blocks must contain non-whitespace text',
    withMessages(assistant(text(' \na')), user(text('b'))),
  ],
  [
    'a blank text in a result',
    withMessages(assistant(use('a')), user(result('a', [text(' ')]))),
    'messages: text content blocks must contain non-whitespace text',
    withMessages(assistant(use('a')), user(result('a', ' '))),
  ],
  [
    'an empty line of the system',
    { ...base, system: [text('')] },
    'system: text content blocks must be non-empty',
    { ...base, system: 'a' },
  ],
  [
    'a mark on an empty text',
    { ...base, system: [{ ...text(''), ...mark() }] },
    'system: cache_control cannot be set for empty text blocks',
    { ...base, system: [{ ...text('a'), ...mark() }] },
  ],
  [
    'a result in an answer',
    withMessages(assistant(result('a')), user(text('b'))),
    'messages.1.content.0: `tool_result` blocks can only be in `user` messages',
    withMessages(assistant(use('a')), user(result('a'), text('b'))),
  ],
  [
    'a call without its result',
    withMessages(assistant(use('a'), use('b')), user(result('a'))),
    'messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b. Each `tool_use` block must have a corresponding `tool_result` block in the next message.',
    withMessages(assistant(use('a'), use('b')), user(result('b'), result('a'))),
  ],
  [
    'a result one message late',
    withMessages(assistant(use('a')), user(text('b')), assistant(text('c')), user(result('a'))),
    'messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a. Each `tool_use` block must have a corresponding `tool_result` block in the next message.',
    withMessages(assistant(use('a')), user(result('a')), user(text('b')), assistant(text('c')), user(text('d'))),
  ],
  [
    'a text in front of a result',
    withMessages(assistant(use('a')), user(text('b'), result('a'))),
    'messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a. Each `tool_use` block must have a corresponding `tool_result` block in the next message.',
    withMessages(assistant(use('a')), user(result('a'), text('b'))),
  ],
  [
    'a result without a call',
    withMessages(assistant(text('a')), user(result('a'))),
    'messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: a. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.',
    withMessages(assistant(use('a')), user(result('a'))),
  ],
  [
    'two results of a call',
    withMessages(assistant(use('a')), user(result('a'), result('a'))),
    'messages.2.content.1: each tool_use must have a single result. Found multiple `tool_result` blocks with id: a',
    withMessages(assistant(use('a'), use('b')), user(result('a'), result('b'))),
  ],
  [
    'two calls of one id',
    withMessages(assistant(use('a')), user(result('a')), assistant(use('a')), user(result('a'))),
    'messages.3.content.0: `tool_use` ids must be unique',
    withMessages(assistant(use('a')), user(result('a')), assistant(use('b')), user(result('b'))),
  ],
  [
    'the id of a call',
    withMessages(assistant(use('a.b')), user(result('a.b'))),
    "messages.1.content.0.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    withMessages(assistant(use('a_b')), user(result('a_b'))),
  ],
  [
    'the input of a call as text',
    withMessages(assistant(use('a', '{}')), user(result('a'))),
    'messages.1.content.0.input: Input should be a valid dictionary',
    withMessages(assistant(use('a', { cache_control: 'mine' })), user(result('a'))),
  ],
  [
    'a thought at the end of an answer',
    withMessages(assistant({ type: 'thinking', thinking: 'a', signature: 'b' }), user(text('b'))),
    'messages.1: The final block in an assistant message cannot be `thinking`.',
    withMessages(assistant(text('a')), user(text('b'))),
  ],
];

describe('the double refuses', () => {
  it.each(refusals)('%s', async (_what, refused, error, accepted) => {
    expect(await judge(refused)).toBe(`400 invalid_request_error: ${error}`);
    expect(await judge(accepted)).toBe('accepted');
  });
});

it('each of these rules is broken by a request of this file', () => {
  const forged = withMessages(
    assistant({ type: 'thinking', thinking: 'a', signature: 'b' }, text('a')),
    user(text('b')),
  );
  const broken = [...refusals.map(([, refused]) => refused), forged].flatMap(
    (body) => VERSIONS['2026-10-21'].safeParse(body).data ?? [],
  );
  for (const rule of CONVERSATION_RULES) {
    const breaks = broken.some((request) => rule(request, modelRules(request.model), 'double') !== undefined);
    expect(breaks, rule.name).toBe(true);
  }
});
