// Sends requests to the model API, in the form of its provider, with the gateway's credential, which is
// sent nowhere else.

import type { Agent, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { errorMessage, OplabError, UpstreamUnavailable } from '../../../errors.ts';
import { openRequest } from '../../../net/request.ts';
import type { Connections } from './connections.ts';
import type { ModelCall, ModelProvider, PreparedRequest } from './providers/provider.ts';

export interface UpstreamOptions<C> {
  readonly baseURL: URL;
  readonly provider: ModelProvider<C>;
  readonly connections: Connections;
  readonly connectTimeoutMs?: number;
  readonly answerTimeoutMs?: number;
}

/** The model API, whoever serves it. */
export type ModelAPI = Pick<ModelUpstream<unknown>, 'send' | 'askModel' | 'credentialDigest'>;

/** No answer arrived. `sent`: the model may have processed the request nevertheless. */
export class NoAnswer extends UpstreamUnavailable {
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, cause);
    this.sent = sent;
  }
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the head of the answer. A long answer that is not streamed takes minutes. */
const ANSWER_TIMEOUT_MS = 600_000;

/** What Node refuses in the value of a header, with an error that nobody understands. */
const UNSENDABLE = /[^\t -~\u0080-\u00ff]/;

/** Those of the caller have been sent once already, so only a credential can fail. @throws OplabError */
function requireSendable(headers: OutgoingHttpHeaders): void {
  const name = Object.keys(headers).find((key) => UNSENDABLE.test(String(headers[key])));
  if (name === undefined) return;
  const why = `the credential of the model API, for the header ${name}, has a character that no header can carry`;
  const what = 'such as a line break, a typographic quotation mark or a character that is not shown';
  const fix =
    'put it again, without that, into the Secret of model.apiKey in the values of the chart (oplab-model-key by default)';
  throw new OplabError('OPLAB_MODEL_KEY_REFUSED', `${why}, ${what}: ${fix}`);
}

export class ModelUpstream<C> {
  readonly #options: UpstreamOptions<C>;
  readonly #root: string;

  constructor(options: UpstreamOptions<C>) {
    this.#options = options;
    // Base URLs are in use with and without the version.
    this.#root = options.baseURL.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
  }

  /**
   * Sends a call. Resolves with the head of the answer, of any status.
   * @throws NoAnswer; UpstreamUnavailable or OplabError if there is no credential
   */
  send(call: ModelCall, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#send(this.#options.provider.prepare(call), signal);
  }

  /**
   * Asks what the API says about a model, which is free; undefined if this API does not tell, and all that
   * is known is that there is a credential.
   * @throws as `send`
   */
  async askModel(model: string, signal: AbortSignal): Promise<IncomingMessage | undefined> {
    const { provider } = this.#options;
    const probe = provider.prepareProbe(model);
    if (probe !== undefined) return await this.#send(probe, signal);
    await provider.credentials.current();
    return undefined;
  }

  /** Changes when the configured credential does. Undefined if there is none, or if it cannot be read. */
  credentialDigest(): Promise<string | undefined> {
    return this.#options.provider.credentials.digest();
  }

  async #send(prepared: PreparedRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { credentials } = this.#options.provider;
    const request = { ...prepared, path: `${this.#root}${prepared.path}` };
    const credential = await credentials.current();
    const answer = await this.#sendWith(credential, request, signal);
    if (answer.statusCode !== 401 && answer.statusCode !== 403) return answer;
    // It may have expired, or been replaced, a moment ago. If there is no other, the refusal stands.
    const other = await credentials.replace(credential).catch(() => undefined);
    if (other === undefined) return answer;
    answer.destroy();
    return await this.#sendWith(other, request, signal);
  }

  async #sendWith(credential: C, request: PreparedRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { baseURL, provider } = this.#options;
    let agent: Agent;
    let headers: PreparedRequest['headers'];
    try {
      agent = this.#options.connections.agentFor(baseURL);
      headers = { ...request.headers, ...(await provider.authorize(credential, request, baseURL.host)) };
    } catch (error) {
      throw new NoAnswer(errorMessage(error), false, error);
    }
    requireSendable(headers);
    // The other side may close a kept-alive connection just as the request is sent. It has not seen
    // the request then.
    for (let tries = 0; tries < 2; tries += 1) {
      const answer = await this.#attempt({ ...request, headers }, agent, signal);
      if (answer !== undefined) return answer;
    }
    throw new NoAnswer(`the model API at ${baseURL.host} closes its connections`, false);
  }

  /** Undefined if the connection was kept alive and was closed before the request was seen. */
  async #attempt(request: PreparedRequest, agent: Agent, signal: AbortSignal): Promise<IncomingMessage | undefined> {
    const { baseURL, connectTimeoutMs = CONNECT_TIMEOUT_MS, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#options;
    const outgoing = openRequest({
      url: baseURL,
      method: request.method,
      path: request.path,
      headers: {
        ...request.headers,
        host: baseURL.host,
        'user-agent': 'oplab-gateway',
        // The meter must be able to read the answer.
        'accept-encoding': 'identity',
        ...(request.body === undefined ? {} : { 'content-length': request.body.length }),
      },
      agent,
      limits: { connect: connectTimeoutMs, head: answerTimeoutMs },
    });
    outgoing.body.end(request.body);
    try {
      return await outgoing.receiveResponse(signal);
    } catch (error) {
      outgoing.destroy();
      const isReset =
        error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (outgoing.isReused && isReset) return undefined;
      const sent = outgoing.isConnected && outgoing.body.writableFinished;
      throw new NoAnswer(`the model API at ${baseURL.host} does not answer: ${errorMessage(error)}`, sent, error);
    }
  }
}
