// Thinking: streamed with a signature, accepted back as it is, and refused once anything of it or in
// front of it is another.

import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DoubleServer, startDouble } from './server.ts';

const answer = () => ({
  thinking: 'The pods come first.',
  content: [
    { type: 'text' as const, text: 'I look.' },
    { type: 'tool_use' as const, name: 'shell', input: { command: 'kubectl get pods', purpose: 'see' } },
  ],
});
let server: DoubleServer;
let other: DoubleServer;
beforeAll(async () => {
  server = await startDouble({ answer });
  other = await startDouble({ answer, account: 'another' });
});
afterAll(() => Promise.all([server.close(), other.close()]));

const connect = ({ url }: DoubleServer) =>
  new Anthropic({ baseURL: url, apiKey: 'any', maxRetries: 0, logLevel: 'off' });
const ask = (body: Partial<Anthropic.MessageStreamParams>, at = server) =>
  connect(at)
    .messages.stream({
      model: 'claude-opus-5-5',
      max_tokens: 1000,
      thinking: { type: 'adaptive', display: 'summarized' },
      tools: [{ name: 'shell', input_schema: { type: 'object' } }],
      messages: [{ role: 'user', content: 'hello' }],
      ...body,
    })
    .finalMessage();

type Content = Anthropic.ContentBlockParam[];
const OPENING: Content = [{ type: 'text', text: 'hello' }];

/** A conversation of two answers, and the results of their calls. */
async function converse(): Promise<Anthropic.MessageParam[]> {
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: OPENING }];
  for (let turn = 0; turn < 2; turn++) {
    const { content } = await ask({ messages });
    const results = content.flatMap(({ type, ...rest }) =>
      type === 'tool_use' && 'id' in rest
        ? [{ type: 'tool_result' as const, tool_use_id: String(rest.id), content: `result ${turn}` }]
        : [],
    );
    messages.push({ role: 'assistant', content }, { role: 'user', content: results });
  }
  return messages;
}

/** The conversation with other content of one message. */
const changed = (messages: readonly Anthropic.MessageParam[], index: number, change: (content: Content) => Content) =>
  messages.map((message, at) =>
    at === index && typeof message.content !== 'string' && message.role !== 'system'
      ? { ...message, content: change(message.content) }
      : message,
  );

const rethink = (thinking: string) => (content: Content) =>
  content.map((block) => (block.type === 'thinking' ? { ...block, thinking } : block));

const isThought = ({ type }: Anthropic.ContentBlockParam) => type === 'thinking';

describe('thinking', () => {
  it('comes first, with a signature, and is accepted back', async () => {
    const messages = await converse();
    const { content, stop_reason } = await ask({ messages });
    expect(content.map(({ type }) => type)).toEqual(['thinking', 'text', 'tool_use']);
    expect(content[0]).toMatchObject({
      thinking: 'The pods come first.',
      signature: expect.stringMatching(/^.{30,}$/),
    });
    expect(stop_reason).toBe('tool_use');
  });

  it('is accepted back with other marks for the cache, and without any thought', async () => {
    const messages = await converse();
    const marked = changed(messages, 0, () => [{ type: 'text', text: 'hello', cache_control: { type: 'ephemeral' } }]);
    await ask({ messages: marked });
    const without = [1, 3].reduce((all, at) => changed(all, at, (it) => it.filter((b) => !isThought(b))), messages);
    await ask({ messages: without });
  });

  it('is not shown if the request asks for that or for nothing, and is signed nevertheless', async () => {
    const hidden = { type: 'thinking', thinking: '', signature: expect.stringMatching(/^.{30,}$/) };
    for (const thinking of [{ type: 'adaptive', display: 'omitted' }, { type: 'adaptive' }] as const) {
      expect((await ask({ thinking })).content[0]).toMatchObject(hidden);
    }
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: OPENING }];
    const silent = await connect(server).messages.create({ model: 'claude-opus-5-5', max_tokens: 1000, messages });
    expect(silent.content[0]).toMatchObject(hidden);
    const { content } = await ask({ model: 'claude-haiku-5-5', thinking: { type: 'disabled' } });
    expect(content.map(({ type }) => type)).toEqual(['text', 'tool_use']);
  });

  const elsewhere = (at: string, first: string) =>
    `${at}: Invalid \`signature\` in \`thinking\` block. The block is bound to a different conversation. Remove the block, or set ` +
    `\`thinking.block_binding.prefix_mismatch_behavior\` to "drop_block". Content before this block differs from when it was created, first at \`${first}\`.`;
  const latest =
    'messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.';

  it.each<[what: string, change: (messages: Anthropic.MessageParam[]) => Anthropic.MessageParam[], error: string]>([
    [
      'another opening',
      (messages) => changed(messages, 0, () => [{ type: 'text', text: 'hello.' }]),
      elsewhere('messages.1.content.0', 'messages.0.content.0'),
    ],
    [
      'a shorter result',
      (messages) =>
        changed(messages, 2, (content) => content.map((block) => ({ ...block, content: 'r' }) as typeof block)),
      elsewhere('messages.3.content.0', 'messages.2.content.0'),
    ],
    [
      'an earlier thought left out',
      (messages) => changed(messages, 1, (content) => content.filter((block) => !isThought(block))),
      elsewhere('messages.3.content.0', 'messages.1.content.0'),
    ],
    [
      'a block in front of it',
      (messages) => changed(messages, 0, (content) => [...content, { type: 'text', text: 'more' }]),
      elsewhere('messages.1.content.0', 'messages.0.content.1'),
    ],
    ['an edited thought in the latest answer', (messages) => changed(messages, 3, rethink('Another.')), latest],
    [
      'an edited thought in an earlier answer',
      (messages) => changed(messages, 1, rethink('Another.')),
      'messages.1.content.0: Invalid `signature` in `thinking` block',
    ],
    [
      'a thought without a signature',
      (messages) =>
        changed(messages, 3, (content) =>
          content.map((it) => (it.type === 'thinking' ? { ...it, signature: '' } : it)),
        ),
      latest,
    ],
    [
      'the thoughts of two answers in the place of each other',
      (messages) => {
        const [, first, , second] = messages.map(({ content }) => (typeof content === 'string' ? [] : content));
        const swap = (own: Content, others: Content | undefined) =>
          own.map((it, at) => (isThought(it) ? (others?.[at] ?? it) : it));
        return changed(
          changed(messages, 1, (it) => swap(it, second)),
          3,
          (it) => swap(it, first),
        );
      },
      elsewhere('messages.1.content.0', 'messages.1.content.0'),
    ],
  ])('is refused with %s', async (_what, change, error) => {
    const messages = await converse();
    await expect(ask({ messages: change(messages) })).rejects.toMatchObject({ status: 400, apiMessage: error });
    await ask({ messages });
  });

  it('of another model or account is refused', async () => {
    const messages = await converse();
    await expect(ask({ messages, model: 'claude-sonnet-5-5' })).rejects.toMatchObject({ status: 400 });
    await expect(ask({ messages }, other)).rejects.toMatchObject({ status: 400 });
  });

  it('is refused in the latest answer once the request turns it off', async () => {
    const model = 'claude-haiku-5-5';
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: OPENING }];
    const { content } = await ask({ model, messages });
    const [call] = content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []));
    messages.push(
      { role: 'assistant', content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call ?? '', content: 'ok' }] },
    );
    await ask({ model, messages });
    await expect(ask({ model, messages, thinking: { type: 'disabled' } })).rejects.toMatchObject({
      apiMessage: expect.stringContaining('When thinking is disabled, an `assistant` message in the final position'),
    });
  });
});
