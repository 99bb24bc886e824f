// Runs the rules with real commands, for tests, without the agent, the gateway and the shell
// server.

import { resultText, shellExitCode } from '../../src/agent/shell.ts';
import type { Message } from '../../src/messages-double/request.ts';
import { callId } from '../../src/rehearsal/conversation.ts';
import { type Decision, decide } from '../../src/rehearsal/engine.ts';
import type { RuleBook } from '../../src/rehearsal/rule.ts';
import type { CommandMemory } from './command-memory.ts';
import type { FakePrograms } from './fake-programs.ts';

/** How a rehearsal ended, and what it ran. */
export interface Rehearsed {
  readonly commands: readonly string[];
  /** Rules in the order in which they were applied. */
  readonly rules: readonly string[];
  readonly conclusion: NonNullable<Decision['conclude']>;
}

const UNTIMED = {
  ...{
    type: 'exit' as const,
    durationMs: 1,
    timedOut: false,
    truncated: false,
    killedProcesses: 0,
    hiddenCharacters: 0,
  },
  leftBehind: [],
};

/**
 * Applies the rules until they conclude.
 * @throws Error when they have not concluded after `turns` answers.
 */
export async function rehearse(
  book: RuleBook,
  memory: CommandMemory,
  programs: FakePrograms,
  turns = 80,
): Promise<Rehearsed> {
  const messages: Message[] = [{ role: 'user', content: 'Something is wrong.' }];
  const commands: string[] = [];
  const rules: string[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const decision = decide(book, messages);
    if (decision === undefined) throw new Error('no rule holds');
    rules.push(decision.rule);
    if (decision.conclude !== undefined) return { commands, rules, conclusion: decision.conclude };
    const ids = decision.commands.map((_, index) => callId(decision.calls + index + 1, decision.rule));
    const content = decision.commands.map((command, index) => ({
      type: 'tool_use' as const,
      id: ids[index] ?? '',
      name: 'shell',
      input: { command, purpose: decision.say },
    }));
    const results = [];
    for (const [index, command] of decision.commands.entries()) {
      commands.push(command);
      const ended = await memory.run(command, programs);
      const exit = { ...ended, ...UNTIMED, exitCode: shellExitCode(ended) };
      results.push({ type: 'tool_result' as const, tool_use_id: ids[index] ?? '', content: resultText(exit, 60) });
    }
    messages.push({ role: 'assistant', content }, { role: 'user', content: results });
  }
  throw new Error(`no conclusion after ${turns} answers: ${rules.join(', ')}`);
}
