// The model for the loop: one answer per request, through the gateway, with retries where they
// help.

import Anthropic from '@anthropic-ai/sdk';
import * as z from 'zod';
import { isFinalReport } from '../api/agent-report.ts';
import { judgeModelError, MODEL_ERROR_FIX, oneLine } from '../api/model-error.ts';
import { modelFacts } from '../api/model-table.ts';
import { ERRORS, isErrorCode } from '../error-codes.ts';
import { errorMessage, OplabError } from '../errors.ts';
import { BUDGET_LEFT_HEADER, type Task } from '../gateway/protocol.ts';
import { askedWaitMs, backoffMs, pause, REQUEST_BACKOFF } from '../net/retry.ts';
import { type Answer, wasCutOff } from './answer.ts';
import type { Turn } from './context.ts';
import { createModelFetch } from './model-fetch.ts';
import type { BudgetLeft, ModelState } from './model-state.ts';
import { SUMMARY_PROMPT } from './summary.ts';

/** A request to the agent's model. */
export interface Question {
  readonly system: string;
  readonly tools: readonly Anthropic.Tool[];
  readonly conversation: readonly Turn[];
}

function readBudgetLeft(headers: Headers): BudgetLeft | undefined {
  const [, percent, limit] = /^(\d{1,3}) ([a-z]+)$/.exec(headers.get(BUDGET_LEFT_HEADER) ?? '') ?? [];
  return percent === undefined || limit === undefined ? undefined : { percent: Number(percent), limit };
}

/** The models of an attempt. */
export interface Model {
  /**
   * Retries until there is an answer or the signal aborts.
   * @throws OplabError OPLAB_LIMIT_REACHED or OPLAB_NO_LEASE if the gateway ends the attempt, one of
   * OPLAB_MODEL_… if no retry helps, OPLAB_CONTEXT_FULL if the conversation is too long,
   * OPLAB_THINKING_REFUSED if its thinking is not accepted
   */
  ask(question: Question, signal: AbortSignal): Promise<Answer>;
  /** From now on asks the fallback model of the class. False if there is none, or it is asked already. */
  fallBack(): boolean;
  /** From now on sends no thinking parameter. False if none was sent. */
  stopThinking(): boolean;
  /** How much of the scarcest limit was left before the last answer. */
  readonly budgetLeft: BudgetLeft | undefined;
  /** The name of the model that is asked. */
  readonly name: string;
  /** What it has learned so far. Set it to go on from there. */
  state: ModelState;
  /** Summarizes a text in one line. Rejects if the small model does not answer in time. */
  summarize(text: string, signal: AbortSignal): Promise<string>;
}

export interface ModelOptions {
  readonly gatewayUrl: string;
  readonly authorization: () => Promise<string>;
  readonly models: Task['model'];
  readonly onRetry?: (reason: string) => void;
  /** For tests: how long a stream may be silent. */
  readonly silenceMs?: number;
  /** For tests: the waits between retries. */
  readonly backoff?: (attempt: number) => number;
}

const SUMMARY_TIMEOUT_MS = 15_000;
const SUMMARY_MAX_TOKENS = 1500;
/** A 401 may be a token that was just rotated, so it is retried a few times. A wrong key is not. */
const MAX_UNAUTHORIZED = 3;

type CacheMark = Anthropic.CacheControlEphemeral;

/**
 * The conversation with a cache mark on the last block of each of the last two user messages. The API
 * looks for what it has written before within twenty blocks of a mark; an answer with many calls has
 * more.
 */
function withCacheMarks(conversation: readonly Turn[], mark: CacheMark): Turn[] {
  const marked = new Set(conversation.filter(({ role }) => role === 'user').slice(-2));
  return conversation.map((turn) => {
    const block = turn.content.at(-1);
    if (!marked.has(turn) || (block?.type !== 'text' && block?.type !== 'tool_result')) return turn;
    return { ...turn, content: [...turn.content.slice(0, -1), { ...block, cache_control: mark }] };
  });
}

/** Of each block, what the loop relies on. */
const readableContent = z.array(
  z.union([
    z.looseObject({ type: z.literal('text'), text: z.string() }),
    z.looseObject({ type: z.literal('thinking'), thinking: z.string() }),
    z.looseObject({ type: z.literal('tool_use'), id: z.string().min(1), name: z.string() }),
    z.looseObject({ type: z.string().refine((type) => !['text', 'thinking', 'tool_use'].includes(type)) }),
  ]),
);

/**
 * Checks the blocks, and reads the input of each call, which the SDK parses only now. @throws an error if
 * a block is not one, or if the input in a complete answer is not JSON; in one that was cut off, the loop
 * does not run the last call.
 */
function requireReadable(answer: Anthropic.Message): void {
  if (!readableContent.safeParse(answer.content).success) throw new Error('a block of the answer has no content');
  const calls = answer.content.filter((block) => block.type === 'tool_use');
  for (const [index, call] of calls.entries()) {
    try {
      void call.input;
    } catch (error) {
      if (!wasCutOff(answer) || index < calls.length - 1) throw error;
      Object.defineProperty(call, 'input', { value: {}, enumerable: true });
    }
  }
}

/** A failure of the same kind this many times in a row is not going to pass. */
const MAX_EQUAL_FAILURES = 3;
/** Nor do so many that nobody says pass: what is wrong may be told in other words each time. */
const MAX_FAULTS = 6;

/** A refusal of the gateway itself, which has a code of its own. */
const gatewayRefusal = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/**
 * A failed request: the error that ends it, or why it is sent again. `isFault`: nobody says that this
 * passes, so it ends the request when it comes again and again.
 */
type Failure = OplabError | { readonly reason: string; readonly isFault: boolean; readonly afterMs?: number };

function classify(error: unknown, unauthorized: number): Failure {
  // Interrupted or garbled streams.
  if (!(error instanceof Anthropic.APIError)) return { reason: errorMessage(error), isFault: true };
  if (error instanceof Anthropic.APIConnectionError) return { reason: errorMessage(error), isFault: false };
  const { status, headers } = error;
  const passing = (reason: string): Failure => {
    const afterMs = askedWaitMs((name) => headers?.get(name));
    return { reason, isFault: false, ...(afterMs === undefined ? {} : { afterMs }) };
  };
  const refusal = gatewayRefusal.safeParse(error.error).data?.error;
  if (refusal !== undefined && isErrorCode(refusal.code)) {
    const { code, message } = refusal;
    // The token may just have been rotated.
    const isUnproven = code === 'OPLAB_UNAUTHENTICATED' && unauthorized < MAX_UNAUTHORIZED;
    if (isUnproven || ERRORS[code].retry) return passing(message);
    if (code === 'OPLAB_TOO_LARGE') return new OplabError('OPLAB_CONTEXT_FULL', message, { cause: error });
    // Whatever else the gateway does not let through is no request of this class.
    const isKnown = isFinalReport({ code }) || OF_THE_ATTEMPT.includes(code);
    return new OplabError(isKnown ? code : 'OPLAB_MODEL_REFUSED', message, { cause: error });
  }
  const verdict = judgeModelError({ status, body: error.error, shouldRetry: headers?.get('x-should-retry') });
  if (verdict.code === undefined) return passing(verdict.message);
  return new OplabError(verdict.code, `${MODEL_ERROR_FIX[verdict.code]}; it says: ${verdict.message}`, {
    cause: error,
  });
}

/** The codes that end the attempt for another reason than its model. */
const OF_THE_ATTEMPT: readonly string[] = [
  'OPLAB_LIMIT_REACHED',
  'OPLAB_NO_LEASE',
  'OPLAB_SESSION_SEALED',
  'OPLAB_UNAUTHENTICATED',
];

export function createModel(options: ModelOptions): Model {
  const { models } = options;
  let { name } = models;
  let thinks = models.thinking === undefined ? modelFacts(name).thinking !== 'none' : models.thinking === 'adaptive';
  let { effort } = models;
  let left: BudgetLeft | undefined;
  // Not every server knows the field, so the default is not spelled out.
  const mark: CacheMark = { type: 'ephemeral', ...(models.cacheTtl === '1h' ? { ttl: '1h' } : {}) };
  const summaryFacts = modelFacts(models.summaryName);
  const client = new Anthropic({
    baseURL: options.gatewayUrl,
    // The gateway holds the key. The fetch below adds the pod's token to each request.
    apiKey: null,
    authToken: 'set-per-request',
    fetch: createModelFetch(options.authorization, {
      onHeaders: (headers) => {
        left = readBudgetLeft(headers) ?? left;
      },
      ...(options.silenceMs === undefined ? {} : { silenceMs: options.silenceMs }),
    }),
    // Retries are here, where they are told and where a long wait can be ended.
    maxRetries: 0,
    logLevel: 'off',
    openTelemetry: false,
  });
  const backoff = options.backoff ?? ((failures: number) => backoffMs(failures, REQUEST_BACKOFF));

  return {
    get name() {
      return name;
    },

    get budgetLeft() {
      return left;
    },

    get state() {
      return { name, thinks, ...(effort === undefined ? {} : { effort }) };
    },

    set state(known) {
      ({ name, thinks, effort } = known);
    },

    fallBack() {
      const { fallbackName } = models;
      if (fallbackName === undefined || fallbackName === name) return false;
      const facts = modelFacts(fallbackName);
      name = fallbackName;
      thinks = models.thinking !== 'off' && facts.thinking !== 'none';
      if (effort !== undefined && !facts.efforts.includes(effort)) effort = undefined;
      return true;
    },

    stopThinking() {
      const before = thinks;
      thinks = false;
      return before;
    },

    async ask(question, signal) {
      const tools = question.tools.map((tool, index) =>
        index === question.tools.length - 1 ? { ...tool, cache_control: mark } : tool,
      );
      const parameters: Anthropic.MessageStreamParams = {
        model: name,
        max_tokens: Math.min(models.maxOutputTokens, modelFacts(name).maxOutputTokens),
        system: [{ type: 'text', text: question.system, cache_control: mark }],
        tools,
        messages: withCacheMarks(question.conversation, mark),
        // Requested as text, because the model's thoughts belong on the record.
        ...(thinks ? { thinking: { type: 'adaptive', display: 'summarized' } } : {}),
        ...(effort === undefined ? {} : { output_config: { effort } }),
      };
      let unauthorized = 0;
      let last = { reason: '', count: 0, faults: 0 };
      for (let attempt = 1; ; attempt++) {
        signal.throwIfAborted();
        let afterMs = 0;
        try {
          const stream = client.messages.stream(parameters, { signal });
          const answer = await stream.finalMessage();
          requireReadable(answer);
          return Object.assign(answer, { requestID: stream.request_id ?? undefined });
        } catch (error) {
          signal.throwIfAborted();
          const failure = classify(error, unauthorized);
          if (failure instanceof OplabError) throw failure;
          if (error instanceof Anthropic.AuthenticationError) unauthorized++;
          const { reason, isFault } = failure;
          last = isFault
            ? { reason, count: reason === last.reason ? last.count + 1 : 1, faults: last.faults + 1 }
            : { reason: '', count: 0, faults: 0 };
          if (last.count === MAX_EQUAL_FAILURES || last.faults === MAX_FAULTS) {
            const times = last.faults === last.count ? `${last.count} times in the same way` : `${MAX_FAULTS} times`;
            const message = `the model API failed ${times}: ${oneLine(reason)}`;
            throw new OplabError('OPLAB_MODEL_REFUSED', message, { cause: error });
          }
          afterMs = failure.afterMs ?? 0;
          options.onRetry?.(reason);
        }
        await pause(Math.max(afterMs, backoff(attempt)), signal);
      }
    },

    async summarize(text, signal) {
      const answer = await client.messages.create(
        {
          model: models.summaryName,
          max_tokens: Math.min(SUMMARY_MAX_TOKENS, models.maxOutputTokens),
          system: SUMMARY_PROMPT,
          messages: [{ role: 'user', content: text }],
          // Thinking counts towards max_tokens, and a one-line summary needs hardly any.
          ...(summaryFacts.efforts.includes('low') ? { output_config: { effort: 'low' } } : {}),
          ...(summaryFacts.thinking === 'optional' ? { thinking: { type: 'disabled' } } : {}),
        },
        { signal: AbortSignal.any([signal, AbortSignal.timeout(SUMMARY_TIMEOUT_MS)]), maxRetries: 1 },
      );
      const line = answer.content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join(' ');
      if (line.trim() === '') throw new OplabError('OPLAB_NO_SUMMARY', 'the small model returned no text');
      return line.replaceAll(/\s+/g, ' ').trim();
    },
  };
}
