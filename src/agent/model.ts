// The model for the loop: one answer per request, through the gateway, with retries where they
// help.

import Anthropic from '@anthropic-ai/sdk';
import { modelFacts } from '../api/model-table.ts';
import { errorMessage, OplabError } from '../errors.ts';
import type { Task } from '../gateway/protocol.ts';
import { backoffMs, pause, REQUEST_BACKOFF } from '../net/retry.ts';
import type { Turn } from './context.ts';
import { createModelFetch } from './model-fetch.ts';
import { SUMMARY_PROMPT } from './summary.ts';

/** A request to the agent's model. */
export interface Question {
  readonly system: string;
  readonly tools: readonly Anthropic.Tool[];
  readonly conversation: readonly Turn[];
}

/** The models of an attempt. */
export interface Model {
  /**
   * Retries until there is an answer or the signal aborts.
   * @throws OplabError OPLAB_LIMIT_REACHED or OPLAB_NO_LEASE if the gateway ends the attempt,
   * OPLAB_MODEL_REFUSED if the API rejects the request permanently, OPLAB_CONTEXT_FULL if the
   * conversation is too long
   */
  ask(question: Question, signal: AbortSignal): Promise<Anthropic.Message>;
  /** Summarizes a text in one line. Rejects if the small model does not answer in time. */
  summarize(text: string, signal: AbortSignal): Promise<string>;
}

export interface ModelOptions {
  readonly gatewayUrl: string;
  readonly authorization: () => Promise<string>;
  readonly models: Task['model'];
  readonly onRetry?: (reason: string) => void;
  /** For tests: the SDK's own retries, and how long a stream may be silent. */
  readonly sdkRetries?: number;
  readonly silenceMs?: number;
  /** For tests: the waits between retries. */
  readonly backoff?: (attempt: number) => number;
}

const SUMMARY_TIMEOUT_MS = 15_000;
const SUMMARY_MAX_TOKENS = 1500;
/** A 401 may be a token that was just rotated, so it is retried a few times. A wrong key is not. */
const MAX_UNAUTHORIZED = 3;

const ephemeral = { type: 'ephemeral' } as const;

/** The conversation with a cache mark on its last block, if that block can have one. */
function withCacheMark(conversation: readonly Turn[]): Turn[] {
  const last = conversation.at(-1);
  const block = last?.content.at(-1);
  if (last === undefined || block === undefined) return [...conversation];
  if (block.type !== 'text' && block.type !== 'tool_result') return [...conversation];
  const content = [...last.content.slice(0, -1), { ...block, cache_control: ephemeral }];
  return [...conversation.slice(0, -1), { ...last, content }];
}

/** Classifies a failed request: a reason to retry, or the error that ends it. */
function classify(error: unknown, unauthorized: number): { retry: string } | OplabError {
  if (!(error instanceof Anthropic.APIError) || error.status === undefined) {
    // Interrupted or garbled streams, errors inside a stream, failed connections.
    return { retry: errorMessage(error) };
  }
  const { status } = error;
  const final = error.headers?.get('x-should-retry') === 'false';
  if (status === 429 && final) return new OplabError('OPLAB_LIMIT_REACHED', error.message, { cause: error });
  if (status === 403) return new OplabError('OPLAB_NO_LEASE', error.message, { cause: error });
  if (status === 413 || (status === 400 && /too long|context (window|length)|too many tokens/i.test(error.message))) {
    return new OplabError('OPLAB_CONTEXT_FULL', error.message, { cause: error });
  }
  // Server errors are retried whatever their headers advise; for other errors the header decides.
  const transient = status >= 500 || (!final && [408, 409, 429].includes(status));
  if (transient || (status === 401 && unauthorized < MAX_UNAUTHORIZED)) return { retry: error.message };
  return new OplabError('OPLAB_MODEL_REFUSED', `the Messages API rejected the request: ${error.message}`, {
    cause: error,
  });
}

export function createModel(options: ModelOptions): Model {
  const { models } = options;
  const thinks =
    models.thinking === undefined ? modelFacts(models.name).thinking !== 'none' : models.thinking === 'adaptive';
  const summaryFacts = modelFacts(models.summaryName);
  const client = new Anthropic({
    baseURL: options.gatewayUrl,
    // The gateway holds the key. The fetch below adds the pod's token to each request.
    apiKey: null,
    authToken: 'set-per-request',
    fetch: createModelFetch(
      options.authorization,
      options.silenceMs === undefined ? {} : { silenceMs: options.silenceMs },
    ),
    maxRetries: options.sdkRetries ?? 4,
    logLevel: 'off',
    openTelemetry: false,
  });
  const backoff = options.backoff ?? ((failures: number) => backoffMs(failures, REQUEST_BACKOFF));

  return {
    async ask(question, signal) {
      const tools = question.tools.map((tool, index) =>
        index === question.tools.length - 1 ? { ...tool, cache_control: ephemeral } : tool,
      );
      const parameters: Anthropic.MessageStreamParams = {
        model: models.name,
        max_tokens: models.maxOutputTokens,
        system: [{ type: 'text', text: question.system, cache_control: ephemeral }],
        tools,
        messages: withCacheMark(question.conversation),
        // Requested as text, because the model's thoughts belong on the record.
        ...(thinks ? { thinking: { type: 'adaptive', display: 'summarized' } } : {}),
        ...(models.effort === undefined ? {} : { output_config: { effort: models.effort } }),
      };
      let unauthorized = 0;
      for (let attempt = 0; ; attempt++) {
        signal.throwIfAborted();
        try {
          return await client.messages.stream(parameters, { signal }).finalMessage();
        } catch (error) {
          signal.throwIfAborted();
          const failure = classify(error, unauthorized);
          if (failure instanceof OplabError) throw failure;
          if (error instanceof Anthropic.AuthenticationError) unauthorized++;
          options.onRetry?.(failure.retry);
        }
        await pause(backoff(attempt + 1), signal);
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
