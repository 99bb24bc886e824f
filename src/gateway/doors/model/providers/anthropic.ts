// The Messages API as Anthropic serves it, and everybody who serves it the same way: Microsoft Foundry,
// LiteLLM, OpenRouter, vLLM, llama.cpp, ollama.

import type { OutgoingHttpHeaders } from 'node:http';
import type { CredentialSource } from './credential.ts';
import type { ModelCall, ModelProvider, PreparedRequest } from './provider.ts';

/** The header in which a server takes the key. */
export type KeyHeader = 'x-api-key' | 'bearer';

/** The path of a call at every server that has the API's own paths. */
export function messagesPath({ beta }: Pick<ModelCall, 'beta'>): string {
  return `/v1/messages${beta ? '?beta=true' : ''}`;
}

export class AnthropicProvider implements ModelProvider<string | undefined> {
  readonly credentials: CredentialSource<string | undefined>;
  readonly #header: KeyHeader;
  readonly #tellsModels: boolean;

  /** @param tellsModels whether the server can be asked about its models */
  constructor(credentials: CredentialSource<string | undefined>, header: KeyHeader, tellsModels = true) {
    this.credentials = credentials;
    this.#header = header;
    this.#tellsModels = tellsModels;
  }

  prepare(call: ModelCall): PreparedRequest {
    return { method: 'POST', path: messagesPath(call), headers: call.headers, body: call.body };
  }

  prepareProbe(model: string): PreparedRequest | undefined {
    if (!this.#tellsModels) return undefined;
    const path = `/v1/models/${encodeURIComponent(model)}`;
    return { method: 'GET', path, headers: { 'anthropic-version': '2023-06-01' }, body: undefined };
  }

  authorize(key: string | undefined): OutgoingHttpHeaders {
    if (key === undefined) return {};
    return this.#header === 'bearer' ? { authorization: `Bearer ${key}` } : { 'x-api-key': key };
  }
}
