// An agent that is killed at any moment goes on where it was: nothing is lost, doubled or run twice.

import { beforeAll, describe, expect, it } from 'vitest';
import { type Content, conclude, shell, text } from '../../test/support/attempt-harness.ts';
import { type KilledAttempt, killedAttempt } from '../../test/support/killed-attempt.ts';

const thinking = (thought: string): Content => ({
  type: 'thinking',
  thinking: thought,
  signature: `signed: ${thought}`,
});
const answers: Content[][] = [
  [thinking('Perhaps  the disk.\n'), text('I look.'), shell('df'), shell('ls "/ \u2028 /"')],
  [text('All is well, I think.')],
  [
    thinking('No.'),
    shell('fix', { timeout_seconds: 9999 }),
    { type: 'tool_use', id: 'toolu_r', name: 'reboot', input: {} },
  ],
  [{ type: 'redacted_thinking', data: 'opaque' }, shell('fix')],
  [conclude()],
];

/** Without what is set anew for each request. */
const withoutMarks = (body: unknown) =>
  JSON.parse(JSON.stringify(body, (key, value) => (key === 'cache_control' ? undefined : value)));
const messagesOf = (body: unknown): { content: { content?: string }[] }[] => withoutMarks(body).messages;
const INDETERMINATE = /restarted while this ran; its outcome is not known/;
const isIndeterminate = ({ params }: { params?: unknown }) => JSON.stringify(params ?? {}).includes('indeterminate');

let whole: KilledAttempt;
beforeAll(async () => {
  whole = await killedAttempt({ answers, killAt: [] });
});

/** All that holds of an attempt, however often its agent was killed. */
function requireTheSame(one: KilledAttempt): void {
  const { gateway, ran } = one;
  expect(gateway.conclusions).toEqual(whole.gateway.conclusions);
  const numbered = (attempt: KilledAttempt) =>
    attempt.gateway.entries.filter(({ clientKey }) => /^1-\d+$/.test(clientKey));
  expect(numbered(one).map(({ clientKey, kind, tool }) => [clientKey, kind, tool])).toEqual(
    numbered(whole).map(({ clientKey, kind, tool }) => [clientKey, kind, tool]),
  );
  const uncertain = numbered(one).filter(isIndeterminate);
  // What is not uncertain is exactly the same.
  for (const [index, entry] of numbered(one).entries()) {
    if (isIndeterminate(entry)) continue;
    const { kind, tool, content, params, exitCode, blob } = entry;
    expect({ kind, tool, content, exitCode, blob }).toEqual(pick(numbered(whole)[index]));
    const timeless = (value: unknown) =>
      JSON.parse(JSON.stringify(value ?? null), (key, it) => (key === 'startedAt' ? 0 : it));
    expect(timeless(params)).toEqual(timeless(numbered(whole)[index]?.params));
  }
  // A command runs once, or, if it was in flight, at most once.
  expect(new Set(ran).size).toBe(ran.length);
  const certain = whole.ran.filter((id) => !uncertain.some(({ params }) => JSON.stringify(params).includes(`"${id}"`)));
  expect(ran).toEqual(expect.arrayContaining(certain));
  expect(ran.length).toBeGreaterThanOrEqual(whole.ran.length - uncertain.length);
  // Each question has the one before at its beginning, to the byte, and differs from that of an agent
  // that was not killed only where the outcome of a command is not known.
  const asked = gateway.bodies.map(messagesOf);
  for (const [index, messages] of asked.entries()) {
    const before = asked[index - 1];
    if (before !== undefined) {
      expect(JSON.stringify(messages.slice(0, before.length))).toBe(JSON.stringify(before));
    }
    const same = whole.gateway.bodies.map(messagesOf).find((it) => it.length === messages.length);
    expect(same).toBeDefined();
    expect(settled(messages, same)).toBe(settled(same, same));
  }
  expect(withoutMarks(gateway.bodies.at(-1)).system).toEqual(withoutMarks(whole.gateway.bodies.at(-1)).system);
}

const pick = (
  { kind, tool, content, exitCode, blob }: KilledAttempt['gateway']['entries'][number] = Object.create(null),
) => ({
  ...{ kind, tool, content, exitCode, blob },
});

/** The text of messages, where an uncertain result counts as the certain one. */
function settled(messages: ReturnType<typeof messagesOf> | undefined, certain: typeof messages): string {
  return JSON.stringify(
    messages?.slice(1).map((message, at) => ({
      ...message,
      content: message.content.map((block, index) =>
        INDETERMINATE.test(block.content ?? '') ? certain?.[at + 1]?.content[index] : block,
      ),
    })),
  );
}

describe('an agent that is killed', () => {
  it('is asked, records and runs as the test expects if it is not', () => {
    requireTheSame(whole);
    expect(whole.ran).toHaveLength(3);
    expect(whole.gateway.bodies).toHaveLength(5);
    expect(messagesOf(whole.gateway.bodies[1])[1]?.content[0]).toEqual(answers[0]?.[0]);
  });

  it('at every moment in turn, goes on as if nothing had been', async () => {
    expect(whole.moments.length).toBeGreaterThan(80);
    for (const [index, moment] of whole.moments.entries()) {
      const killed = await killedAttempt({ answers, killAt: [index] });
      try {
        requireTheSame(killed);
        const isInFlight = / a command$|while a command runs|command-ended/.test(moment);
        const uncertain = killed.gateway.entries.filter(isIndeterminate);
        if (isInFlight) expect(uncertain).toHaveLength(1);
        expect(uncertain.length).toBeLessThanOrEqual(1);
      } catch (error) {
        throw new Error(`killed ${moment} (moment ${index})`, { cause: error });
      }
    }
  }, 120_000);

  it('ten times in one session, wherever that is', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const killAt = Array.from({ length: 10 }, (_, kill) => kill * 9 + ((seed * 7 + kill * 5) % 9));
      const killed = await killedAttempt({ answers, killAt });
      expect(killed.processes).toBe(11);
      requireTheSame(killed);
    }
  }, 120_000);

  it('ten times one after the other, at each first moment of a process', async () => {
    for (const from of [0, 20, 41, 60]) {
      const killed = await killedAttempt({ answers, killAt: Array.from({ length: 10 }, (_, kill) => from + kill) });
      expect(killed.processes).toBe(11);
      requireTheSame(killed);
    }
  }, 60_000);
});
