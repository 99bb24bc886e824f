// The loop: queries the model, records its thoughts, runs its tool calls in order, until it
// concludes.
//
// All effects are injected. Two rules make the record trustworthy: a tool call is durable before it
// runs, and a result is durable before the model sees it.

import type Anthropic from '@anthropic-ai/sdk';
import { isFinalReport } from '../api/agent-report.ts';
import { truncate } from '../api/truncate.ts';
import { SUMMARY_STEP } from '../audit/entry-params.ts';
import type { ErrorCode } from '../error-codes.ts';
import { errorMessage, OplabError } from '../errors.ts';
import { type Answer, readRefusal, recordThoughts, replayable, wasCutOff, withoutThinking } from './answer.ts';
import type { AuditTrail } from './audit-trail.ts';
import { estimateTokens, type ResultNote, type Turn, trimConversation } from './context.ts';
import type { AgentEvent, LoopEnd } from './events.ts';
import { isLeaseOver } from './gateway-client.ts';
import type { Model } from './model.ts';
import { CUT_OFF, dueNotice, GO_ON, REMINDER } from './prompt.ts';
import { cutToLine, type Summaries } from './summary.ts';
import type { Tool, ToolOutcome } from './tool.ts';

/** Consecutive reminders before the loop ends an attempt whose model does not act. */
const MAX_REMINDERS = 3;
const NOT_RUN =
  'Not run: your answer was cut off at the output limit in the middle of this call. Make the call again, but shorter.';

export interface LoopOptions {
  readonly model: Pick<Model, 'ask' | 'fallBack' | 'stopThinking' | 'name' | 'budgetLeft'>;
  readonly tools: readonly Tool[];
  readonly audit: AuditTrail;
  readonly summaries: Summaries;
  readonly system: string;
  readonly opening: string;
  /** The model's context window, in tokens. */
  readonly contextWindow: number;
  readonly signal: AbortSignal;
}

type ToolUse = Anthropic.ToolUseBlock;
type ToolResult = Anthropic.ToolResultBlockParam;

/**
 * Runs an attempt from the first request to its end, which is also the last event. Throws only on
 * defects.
 */
export async function* runLoop(options: LoopOptions): AsyncGenerator<AgentEvent, LoopEnd> {
  let end: LoopEnd;
  try {
    end = yield* converse(options);
  } catch (error) {
    if (options.signal.aborted) end = { reason: 'stopped', message: errorMessage(options.signal.reason) };
    else if (isLeaseOver(error)) end = { reason: 'lease-over', message: errorMessage(error) };
    else if (error instanceof OplabError && isModelFailure(error.code)) {
      end = { reason: 'model-failed', code: error.code, message: error.message };
    } else throw error;
  } finally {
    await options.summaries.drop();
  }
  yield { type: 'ended', end };
  return end;
}

/** Adds a notice to the last result. A text behind results would teach the model to wait for one. */
function addNotice(results: ToolResult[], notice: string): void {
  const last = results.pop();
  if (last !== undefined) results.push({ ...last, content: `${last.content}\n\n${notice}` });
}

/** Whether the error of a question ends the attempt. A token that stays refused may be good in another. */
function isModelFailure(code: ErrorCode): boolean {
  return isFinalReport({ code }) || code === 'OPLAB_UNAUTHENTICATED';
}

async function* converse(options: LoopOptions): AsyncGenerator<AgentEvent, LoopEnd> {
  const { model, tools, audit, signal } = options;
  const definitions = tools.map((tool) => tool.definition);
  const notes = new Map<string, ResultNote>();
  let conversation: Turn[] = [{ role: 'user', content: [{ type: 'text', text: options.opening }] }];
  const say = (text: string) => conversation.push({ role: 'user', content: [{ type: 'text', text }] });
  let tokens = estimateTokens([options.system, definitions, conversation]);
  let reminders = 0;
  let noticedPercent = 100;

  for (let turn = 1; ; turn++) {
    const trimmed = trimConversation(conversation, tokens, options.contextWindow, notes);
    if (trimmed !== undefined) {
      conversation = trimmed.messages;
      yield { type: 'context-trimmed', results: trimmed.trimmed };
    }

    const answer = await askOrTrim();
    const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens } = answer.usage;
    const inputTokens = input_tokens + (cache_read_input_tokens ?? 0) + (cache_creation_input_tokens ?? 0);
    const turnStart = conversation.length;
    yield { type: 'answer', turn, stopReason: answer.stop_reason, inputTokens, outputTokens: output_tokens };

    await recordThoughts(audit, answer);
    if (answer.stop_reason === 'refusal') {
      const { refusal, message } = readRefusal(model.name, answer);
      if (!model.fallBack()) return { reason: 'model-failed', code: 'OPLAB_MODEL_DECLINED', message, refusal };
      // The thoughts of one model are nothing to another.
      conversation = withoutThinking(conversation) ?? conversation;
      await audit.append({
        kind: 'lifecycle',
        params: { step: 'model_fallback', model: model.name },
        content: `${message}; ${model.name} is asked instead`,
      });
      yield { type: 'fallback', model: model.name, reason: message };
      continue;
    }
    const content = replayable(answer);
    if (content.length > 0) conversation.push({ role: 'assistant', content });

    const calls = answer.content.filter((block) => block.type === 'tool_use');
    if (calls.length > 0) {
      reminders = 0;
      const results: ToolResult[] = [];
      for (const [index, call] of calls.entries()) {
        const cutOff = wasCutOff(answer) && index === calls.length - 1;
        const outcome = yield* runCall(turn, call, calls.length, cutOff);
        if (outcome.concluded === true) return { reason: 'concluded' };
        if (outcome.fatal !== undefined) return { reason: 'sandbox-stalled', message: outcome.fatal };
        results.push({
          type: 'tool_result',
          tool_use_id: call.id,
          content: outcome.text,
          ...(outcome.isError ? { is_error: true } : {}),
        });
      }
      const notice = dueNotice(model.budgetLeft, noticedPercent);
      if (notice !== undefined) {
        noticedPercent = notice.percent;
        addNotice(results, notice.text);
      }
      conversation.push({ role: 'user', content: results });
    } else if (answer.stop_reason === 'pause_turn') {
      say(GO_ON);
    } else {
      if (reminders === MAX_REMINDERS) return { reason: 'silent' };
      reminders++;
      say(wasCutOff(answer) ? CUT_OFF : REMINDER);
      yield { type: 'reminded', count: reminders };
    }
    // The reported usage covers what was sent; what this turn added is estimated. So is everything, if the
    // server does not count.
    const isCounted = inputTokens > 0;
    tokens = isCounted
      ? inputTokens + output_tokens + estimateTokens(conversation.slice(turnStart))
      : estimateTokens([options.system, definitions, conversation]);
  }

  /**
   * Queries the model. If the API rejects the conversation as too long, trims it once and retries. If
   * it rejects the thinking in it, retries without, and then without the parameter.
   */
  async function askOrTrim(): Promise<Answer> {
    for (let isTrimmed = false; ; ) {
      try {
        return await model.ask({ system: options.system, tools: definitions, conversation }, signal);
      } catch (error) {
        const code = error instanceof OplabError ? error.code : undefined;
        let changed: Turn[] | undefined;
        if (code === 'OPLAB_CONTEXT_FULL' && !isTrimmed) {
          changed = trimConversation(conversation, tokens, tokens, notes)?.messages;
          isTrimmed = true;
        } else if (code === 'OPLAB_THINKING_REFUSED') {
          changed = withoutThinking(conversation) ?? (model.stopThinking() ? conversation : undefined);
        }
        if (changed === undefined) throw error;
        conversation = changed;
      }
    }
  }

  /** Records a call, runs it, and records its result. */
  async function* runCall(
    turn: number,
    call: ToolUse,
    count: number,
    cutOff: boolean,
  ): AsyncGenerator<AgentEvent, ToolOutcome> {
    const tool = tools.find((candidate) => candidate.definition.name === call.name);
    const prepared = cutOff ? NOT_RUN : prepare(tool, call, count);
    const callKey = audit.nextKey;
    const refused = typeof prepared === 'string';
    await audit.append({
      kind: 'tool_call',
      tool: call.name.slice(0, 128),
      params: refused ? { input: truncate(JSON.stringify(call.input) ?? '', 4096, '') } : prepared.params,
      content: refused ? '(not run: the call is invalid)' : prepared.purpose,
    });
    yield { type: 'tool-call', turn, tool: call.name, callKey };
    // What still runs after the claim may run after the lease.
    if (!refused && tool?.alone === true) await options.summaries.drop();
    const outcome: ToolOutcome = refused
      ? { text: prepared, isError: true, summary: prepared }
      : await prepared.run(callKey, signal).catch((error: unknown) => failed(error));
    const summary = cutToLine(outcome);
    try {
      const { exitCode, durationMs, params, blob } = outcome;
      const receipt = await audit.append({
        kind: 'tool_result',
        tool: call.name.slice(0, 128),
        content: summary,
        exitCode,
        durationMs,
        params,
        blob,
      });
      const { seq } = receipt;
      notes.set(call.id, { summary, seq });
      options.summaries.begin(outcome, async (line, stop) => {
        notes.set(call.id, { summary: line, seq });
        const params = { step: SUMMARY_STEP, result: seq };
        await audit.add(`${callKey}-summary`, { kind: 'lifecycle', params, content: line }, stop);
      });
    } catch (error) {
      // A claim may end the attempt before its result is written. The claim itself is already
      // recorded.
      if (outcome.concluded !== true || !isLeaseOver(error)) throw error;
    }
    yield { type: 'tool-result', turn, tool: call.name, callKey, isError: outcome.isError, summary };
    return outcome;
  }

  function failed(error: unknown): ToolOutcome {
    if (signal.aborted || isLeaseOver(error) || !(error instanceof OplabError)) throw error;
    return { text: `${error.code}: ${error.message}`, isError: true, summary: error.message };
  }

  function prepare(tool: Tool | undefined, call: ToolUse, count: number) {
    if (tool === undefined) {
      return `There is no tool "${call.name}". Available tools: ${definitions.map((it) => it.name).join(', ')}.`;
    }
    if (tool.alone && count > 1) {
      return `${call.name} must be the only call in an answer. Read the results of the other calls first, then call it again.`;
    }
    return tool.prepare(call.input);
  }
}
