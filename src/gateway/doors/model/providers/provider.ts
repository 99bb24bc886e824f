// What differs between the servers that speak the Messages API: the path, the body, and how a request
// proves who sends it.

import type { OutgoingHttpHeaders } from 'node:http';
import type { MessagesRequest } from '../request-policy.ts';
import type { CredentialSource } from './credential.ts';

/** An admitted call of the Messages API. */
export interface ModelCall {
  readonly request: Pick<MessagesRequest, 'model' | 'stream'>;
  /** The whole request, in JSON. */
  readonly body: Buffer;
  readonly beta: boolean;
  readonly headers: OutgoingHttpHeaders;
}

/** A request as it is sent, but for its credential. */
export interface PreparedRequest {
  readonly method: 'GET' | 'POST';
  /** Path and query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | undefined;
}

/** One way to ask for a model. `C` is the credential that it needs. */
export interface ModelProvider<C> {
  readonly credentials: CredentialSource<C>;
  /** The call in the form that this server takes. Its path comes after that of the base URL. */
  prepare(call: ModelCall): PreparedRequest;
  /** The question whether a model exists; undefined if this server does not answer it. */
  prepareProbe(model: string): PreparedRequest | undefined;
  /** The headers that prove who asks, in addition to those of the request. */
  authorize(credential: C, request: PreparedRequest, host: string): OutgoingHttpHeaders | Promise<OutgoingHttpHeaders>;
}
