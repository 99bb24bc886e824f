// The double of the Messages API: a request in, what to do on the connection out. No sockets.

import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type Anthropic from '@anthropic-ai/sdk';
import { errorMessage } from '../errors.ts';
import { type Answer, buildMessage, type MessageContext } from './answer.ts';
import { type APIError, invalid } from './api-error.ts';
import { PromptCache } from './cache.ts';
import { cutAtLimit } from './cut.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { type ModelRules, modelRules } from './model-rules.ts';
import { promptTokens } from './parameter-rules.ts';
import { chainDigests, promptBlocks } from './prompt.ts';
import type { MessagesRequest } from './request.ts';
import { errorSteps, jsonSteps, type Step, streamSteps } from './steps.ts';
import { buildEvents } from './stream.ts';
import { judgeBody, judgeCount, judgeHeaders, unknownModel } from './validate.ts';

/** What the model behind the double does: it answers, fails, or does as it likes with the connection. */
export type Reply =
  | (Answer & { /** One JSON body even if a stream was asked for, as some servers. */ readonly whole?: boolean })
  | { readonly error: APIError }
  | Extract<Step, { do: 'raw' }>;

export interface DoubleOptions {
  /** The model. It sees only requests that the API accepts. */
  readonly answer: (request: MessagesRequest, headers: IncomingHttpHeaders) => Reply | Promise<Reply>;
  /** The fault with which a request is answered instead. `count`: which of the accepted requests it is, from 1. */
  readonly fault?: (request: MessagesRequest, count: number) => FaultName | undefined;
  /** Called when a request is not valid. */
  readonly onRefused?: (error: APIError) => void;
  /** Whether a credential is valid. Default: none is needed. */
  readonly isCredential?: (credential: string) => boolean;
  /** Whether there is such a model. Default: any. */
  readonly isModel?: (id: string) => boolean;
  /** What is said to who asks for another model. */
  readonly aboutModels?: string;
  /** What is shown for a model at `/v1/models`. Undefined: there is no such address. Default: its id. */
  readonly displayName?: ((id: string) => string) | undefined;
  /** Default: what the table of models says. */
  readonly rulesOf?: (model: string) => ModelRules;
  /** Whose key signs thinking. */
  readonly account?: string;
  /** The clock of the cache, in milliseconds. */
  readonly now?: () => number;
}

/** A request as it arrived. */
export interface RawRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Undefined if it is larger than the API accepts. */
  readonly body: Buffer | undefined;
  readonly requestId: string;
}

export class MessagesDouble {
  readonly #options: DoubleOptions;
  readonly #rulesOf: (model: string) => ModelRules;
  readonly #account: string;
  readonly #cache: PromptCache;
  #count = 0;

  constructor(options: DoubleOptions) {
    this.#options = options;
    this.#rulesOf = options.rulesOf ?? modelRules;
    this.#account = options.account ?? 'double';
    this.#cache = new PromptCache(options.now);
  }

  /** What to do on the connection of a request. */
  async respond(raw: RawRequest): Promise<Step[]> {
    const { method, requestId } = raw;
    const { pathname } = new URL(raw.url, 'http://double');
    const fail = (error: APIError) => {
      this.#options.onRefused?.(error);
      return errorSteps(error, requestId);
    };
    const [, model] = /^\/v1\/models\/([^/]+)$/.exec(pathname) ?? [];
    const isCount = pathname === '/v1/messages/count_tokens';
    const hasModels = !('displayName' in this.#options) || this.#options.displayName !== undefined;
    // Servers that only imitate the API have no such address, and not its errors.
    if (model !== undefined && !hasModels) return [{ do: 'head', status: 404, headers: {} }, { do: 'end' }];
    const isKnown =
      method === 'POST' ? isCount || pathname === '/v1/messages' : method === 'GET' && model !== undefined;
    if (!isKnown) return fail({ type: 'not_found_error', message: `no such endpoint: ${method} ${pathname}` });

    const judged = judgeHeaders(raw.headers, this.#options);
    if (!judged.ok) return fail(judged.error);
    if (method === 'GET') return this.#describe(decodeURIComponent(model ?? ''), requestId);
    if (raw.body === undefined) return fail({ type: 'request_too_large', message: 'Request exceeds the maximum size' });
    let body: unknown;
    try {
      body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw.body));
    } catch (error) {
      return fail(invalid(`The request body is not valid JSON: ${errorMessage(error)}`));
    }
    const options = { ...this.#options, rulesOf: this.#rulesOf, account: this.#account };
    const found = isCount ? judgeCount(body, options) : judgeBody(body, judged.value, options);
    if (!found.ok) return fail(found.error);
    return isCount
      ? jsonSteps(200, { input_tokens: promptTokens(found.value) })
      : this.#answer(found.value, raw.headers, requestId);
  }

  #describe(id: string, requestId: string): Step[] {
    const { isModel, aboutModels } = this.#options;
    if (isModel?.(id) === false) return errorSteps(unknownModel(id, aboutModels), requestId);
    const { contextWindow, maxOutputTokens } = this.#rulesOf(id);
    const info: Anthropic.ModelInfo = {
      type: 'model',
      id,
      display_name: this.#options.displayName?.(id) ?? id,
      created_at: '2026-01-01T00:00:00Z',
      max_input_tokens: contextWindow,
      max_tokens: maxOutputTokens,
      capabilities: null,
      lifecycle: 'active',
      deprecated_at: null,
      retires_at: null,
      line: null,
    };
    return jsonSteps(200, info);
  }

  async #answer(request: MessagesRequest, headers: IncomingHttpHeaders, requestId: string): Promise<Step[]> {
    const model = this.#rulesOf(request.model);
    const blocks = promptBlocks(request);
    const digest = createHash('sha256')
      .update(chainDigests(request.model, blocks).at(-1) ?? '')
      .digest('hex');
    const context: MessageContext = { model, prompt: this.#cache.use(request, model), digest, account: this.#account };
    const isStream = request.stream === true;
    const fault = this.#options.fault?.(request, ++this.#count);
    if (fault !== undefined) {
      return FAULTS[fault]({
        requestId,
        model: request.model,
        isStream,
        promptTokens: promptTokens(request),
        contextWindow: model.contextWindow,
        message: (answer) => buildMessage(request, answer, context),
        answer: async () => {
          const reply = await this.#options.answer(request, headers);
          return buildMessage(request, 'content' in reply ? reply : { content: [] }, context);
        },
      });
    }
    const reply = await this.#options.answer(request, headers);
    if ('do' in reply) return [reply];
    if ('error' in reply) return errorSteps(reply.error, requestId);
    const { message, openInput } = cutAtLimit(buildMessage(request, reply, context), request.max_tokens);
    if (!isStream || reply.whole === true) return jsonSteps(200, message);
    const tools = request.tools?.filter(({ eager_input_streaming }) => eager_input_streaming === true) ?? [];
    return streamSteps(buildEvents(message, { openInput, eager: new Set(tools.map(({ name }) => name)) }));
  }
}
