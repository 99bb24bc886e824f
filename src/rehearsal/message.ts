// The answers of the rehearsal model: what a rule decides, thought or said, and its calls.

import type { Answer } from '../messages-double/answer.ts';
import type { MessagesRequest } from '../messages-double/request.ts';
import { callId } from './conversation.ts';
import { type Decision, decide } from './engine.ts';
import { oneLiner } from './one-liner.ts';
import type { RuleBook } from './rule.ts';

const say = (text: string): Answer => ({ content: [{ type: 'text', text }] });

/** A decision as a thought, or as a text if the request asks for no thoughts, and tool calls. */
function decisionAnswer(decision: Decision, isThinking: boolean): Answer {
  const call = (index: number, name: string, input: Record<string, unknown>) => ({
    type: 'tool_use' as const,
    id: callId(decision.calls + index + 1, decision.rule),
    name,
    input,
  });
  const calls =
    decision.conclude === undefined
      ? decision.commands.map((command, index) =>
          call(index, 'shell', {
            command,
            purpose: decision.say,
            ...(decision.timeoutSeconds === undefined ? {} : { timeout_seconds: decision.timeoutSeconds }),
          }),
        )
      : [call(0, 'conclude', { ...decision.conclude })];
  return isThinking
    ? { thinking: decision.say, content: calls }
    : { content: [{ type: 'text', text: decision.say }, ...calls] };
}

/** The answer to a request. A request without tools is meant for the small model. */
export function answerTo(book: RuleBook, request: MessagesRequest): Answer {
  if (request.tools === undefined || request.tools.length === 0) return say(oneLiner(request.messages));
  const names = request.tools.map((tool) => tool.name);
  if (!names.includes('shell') || !names.includes('conclude')) {
    return say('This rehearsal model supports only the tools shell and conclude.');
  }
  const decision = decide(book, request.messages);
  return decision === undefined
    ? say('No rule of this rehearsal model applies here.')
    : decisionAnswer(decision, request.thinking?.type === 'adaptive');
}
