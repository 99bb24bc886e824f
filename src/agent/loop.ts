// The loop: queries the model, records its thoughts, runs its tool calls in order, until it
// concludes.
//
// All effects are injected. Two rules make the record trustworthy: a tool call is durable before it
// runs, and a result is durable before the model sees it. A third one makes the loop survive its
// process: an answer and each outcome are kept before anything is made of them, so another process
// makes the same of them, and sends the same entries again.

import type Anthropic from '@anthropic-ai/sdk';
import { isFinalReport } from '../api/agent-report.ts';
import { truncate } from '../api/truncate.ts';
import { SUMMARY_STEP } from '../audit/entry-params.ts';
import type { ErrorCode } from '../error-codes.ts';
import { errorMessage, OplabError } from '../errors.ts';
import { type Answer, readRefusal, recordThoughts, replayable, wasCutOff, withoutThinking } from './answer.ts';
import type { AuditTrail } from './audit-trail.ts';
import { estimateTokens, type TrimLimits, type Turn, trimConversation } from './context.ts';
import type { AgentEvent, LoopEnd } from './events.ts';
import { isLeaseOver } from './gateway-client.ts';
import type { Journal } from './journal.ts';
import type { LoopState, Pending } from './loop-state.ts';
import type { Model } from './model.ts';
import type { ModelState } from './model-state.ts';
import { CUT_OFF, dueNotice, GO_ON, REMINDER } from './prompt.ts';
import { cutToLine, type Summaries } from './summary.ts';
import type { Tool, ToolOutcome } from './tool.ts';

/** Consecutive reminders before the loop ends an attempt whose model does not act. */
const MAX_REMINDERS = 3;
const NOT_RUN =
  'Not run: your answer was cut off at the output limit in the middle of this call. Make the call again, but shorter.';

export interface LoopOptions {
  readonly model: Pick<Model, 'ask' | 'fallBack' | 'stopThinking' | 'name' | 'budgetLeft' | 'state'>;
  readonly tools: readonly Tool[];
  readonly audit: AuditTrail;
  readonly summaries: Summaries;
  readonly journal: Journal;
  /** Where to begin, or to go on. */
  readonly state: LoopState;
  readonly trimLimits: TrimLimits;
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
    else if (error instanceof Interrupted) end = { reason: 'interrupted', message: error.message };
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

/** The log says that the process before came further than what is kept. */
class Interrupted extends Error {
  constructor() {
    super('the agent was restarted, and what is kept of its conversation is older than its record');
  }
}

/** An answer as it is read back: what the SDK computes from it late is computed now. */
function plain(answer: Answer): Answer {
  return JSON.parse(JSON.stringify(answer));
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

/** The state of a loop that begins. */
export function initialState(
  { system, opening }: { readonly system: string; readonly opening: string },
  tools: readonly Tool[],
  model: ModelState,
): LoopState {
  const conversation: Turn[] = [{ role: 'user', content: [{ type: 'text', text: opening }] }];
  return {
    ...{ system, conversation, model, notes: new Map(), pending: undefined },
    ...{ turn: 1, reminders: 0, noticedPercent: 100 },
    tokens: estimateTokens([system, tools.map(({ definition }) => definition), conversation]),
  };
}

async function* converse(options: LoopOptions): AsyncGenerator<AgentEvent, LoopEnd> {
  const { model, tools, audit, journal, state, signal } = options;
  const { notes } = state;
  const definitions = tools.map((tool) => tool.definition);
  const say = (text: string) => state.conversation.push({ role: 'user', content: [{ type: 'text', text }] });
  model.state = state.model;
  // Nothing is asked that another process could not ask.
  if (state.pending === undefined) await save();

  for (; ; state.turn++) {
    const pending = state.pending ?? (yield* nextAnswer());
    const { answer } = pending;
    audit.nextNumber = pending.firstKey;
    const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens } = answer.usage;
    const inputTokens = input_tokens + (cache_read_input_tokens ?? 0) + (cache_creation_input_tokens ?? 0);
    const turnStart = state.conversation.length;
    const { turn } = state;
    yield { type: 'answer', turn, stopReason: answer.stop_reason, inputTokens, outputTokens: output_tokens };

    await recordThoughts(audit, answer);
    if (answer.stop_reason === 'refusal') {
      const { refusal, message } = readRefusal(model.name, answer);
      if (!model.fallBack()) return { reason: 'model-failed', code: 'OPLAB_MODEL_DECLINED', message, refusal };
      // The thoughts of one model are nothing to another.
      state.conversation = withoutThinking(state.conversation) ?? state.conversation;
      await audit.append({
        kind: 'lifecycle',
        params: { step: 'model_fallback', model: model.name },
        content: `${message}; ${model.name} is asked instead`,
      });
      yield { type: 'fallback', model: model.name, reason: message };
      state.pending = undefined;
      continue;
    }
    const content = replayable(answer);
    // Until the turn is over, the kept conversation is that before the answer.
    const said: Turn[] = content.length > 0 ? [{ role: 'assistant', content }] : [];

    const calls = answer.content.filter((block) => block.type === 'tool_use');
    if (calls.length > 0) {
      state.reminders = 0;
      const results: ToolResult[] = [];
      for (const [index, call] of calls.entries()) {
        const cutOff = wasCutOff(answer) && index === calls.length - 1;
        const outcome = yield* runCall(pending, index, call, calls.length, cutOff);
        if (outcome.concluded === true) return { reason: 'concluded' };
        if (outcome.fatal !== undefined) return { reason: 'sandbox-stalled', message: outcome.fatal };
        results.push({
          type: 'tool_result',
          tool_use_id: call.id,
          content: outcome.text,
          ...(outcome.isError ? { is_error: true } : {}),
        });
      }
      const notice = dueNotice(pending.left, state.noticedPercent);
      if (notice !== undefined) {
        state.noticedPercent = notice.percent;
        addNotice(results, notice.text);
      }
      said.push({ role: 'user', content: results });
    }
    state.conversation.push(...said);
    if (calls.length === 0 && answer.stop_reason === 'pause_turn') {
      say(GO_ON);
    } else if (calls.length === 0) {
      if (state.reminders === MAX_REMINDERS) return { reason: 'silent' };
      state.reminders++;
      say(wasCutOff(answer) ? CUT_OFF : REMINDER);
      yield { type: 'reminded', count: state.reminders };
    }
    // The reported usage covers what was sent; what this turn added is estimated. So is everything, if the
    // server does not count.
    const isCounted = inputTokens > 0;
    state.tokens = isCounted
      ? inputTokens + output_tokens + estimateTokens(state.conversation.slice(turnStart))
      : estimateTokens([state.system, definitions, state.conversation]);
    // Whatever the table says about the window: the next question would fill it again.
    if (answer.stop_reason === 'model_context_window_exceeded') {
      state.tokens = Math.max(state.tokens, options.trimLimits.full);
    }
    state.pending = undefined;
  }

  async function save(): Promise<void> {
    state.model = model.state;
    await journal.save(state);
  }

  /** Asks the model, and keeps its answer. */
  async function* nextAnswer(): AsyncGenerator<AgentEvent, Pending> {
    requireNothingAhead();
    const trimmed = trimConversation(state.conversation, state.tokens, options.trimLimits, notes);
    if (trimmed !== undefined) {
      state.conversation = trimmed.messages;
      yield { type: 'context-trimmed', results: trimmed.trimmed };
    }
    const answer = await askOrTrim();
    state.pending = { answer: plain(answer), left: model.budgetLeft, firstKey: audit.nextNumber, outcomes: [] };
    await save();
    return state.pending;
  }

  /** @throws Interrupted if more is on record than what is kept leads to */
  function requireNothingAhead(): void {
    if (audit.ahead > 0) throw new Interrupted();
  }

  /**
   * Queries the model. If the API rejects the conversation as too long, trims it once and retries. If
   * it rejects the thinking in it, retries without, and then without the parameter.
   */
  async function askOrTrim(): Promise<Answer> {
    for (let isTrimmed = false; ; ) {
      try {
        return await model.ask({ system: state.system, tools: definitions, conversation: state.conversation }, signal);
      } catch (error) {
        const code = error instanceof OplabError ? error.code : undefined;
        let changed: Turn[] | undefined;
        if (code === 'OPLAB_CONTEXT_FULL' && !isTrimmed) {
          const now = { dear: state.tokens, full: state.tokens };
          changed = trimConversation(state.conversation, state.tokens, now, notes)?.messages;
          isTrimmed = true;
        } else if (code === 'OPLAB_THINKING_REFUSED') {
          changed = withoutThinking(state.conversation) ?? (model.stopThinking() ? state.conversation : undefined);
        }
        if (changed === undefined) throw error;
        state.conversation = changed;
      }
    }
  }

  /** Records a call, runs it, and records its result. Runs nothing that may have run before. */
  async function* runCall(
    pending: Pending,
    index: number,
    call: ToolUse,
    count: number,
    cutOff: boolean,
  ): AsyncGenerator<AgentEvent, ToolOutcome> {
    const tool = tools.find((candidate) => candidate.definition.name === call.name);
    const prepared = cutOff ? NOT_RUN : prepare(tool, call, count);
    const callKey = audit.nextKey;
    const { turn } = state;
    const isRecorded = audit.ahead > 0;
    const refused = typeof prepared === 'string';
    await audit.append({
      kind: 'tool_call',
      tool: call.name.slice(0, 128),
      params: refused ? { input: truncate(JSON.stringify(call.input) ?? '', 4096, '') } : prepared.params,
      content: refused ? '(not run: the call is invalid)' : prepared.purpose,
    });
    yield { type: 'tool-call', turn, tool: call.name, callKey };
    const known = pending.outcomes[index];
    const outcome = known ?? (await obtain());
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
      if (!notes.has(call.id)) notes.set(call.id, { summary, seq });
      if (known === undefined)
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

    /** Runs the call, or finds out what became of it, and keeps the outcome. */
    async function obtain(): Promise<ToolOutcome> {
      // The call is the last entry that the process before can have written.
      requireNothingAhead();
      // What still runs after the claim may run after the lease.
      if (!refused && tool?.alone === true) await options.summaries.drop();
      const running = refused
        ? refusedCall(prepared)
        : isRecorded
          ? prepared.resume(callKey, signal)
          : prepared.run(callKey, signal);
      const obtained = await running.catch((error: unknown) => failed(error));
      pending.outcomes.push(obtained);
      await save().catch((error: unknown) => {
        if (obtained.concluded !== true || !isLeaseOver(error)) throw error;
      });
      return obtained;
    }
  }

  async function refusedCall(message: string): Promise<ToolOutcome> {
    return { text: message, isError: true, summary: message };
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
