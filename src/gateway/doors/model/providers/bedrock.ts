// Claude in Amazon Bedrock: the Messages API at an endpoint of a region, signed with AWS Signature
// Version 4, or with an API key of Bedrock.

import type { OutgoingHttpHeaders } from 'node:http';
import { messagesPath } from './anthropic.ts';
import type { CredentialSource } from './credential.ts';
import type { ModelCall, ModelProvider, PreparedRequest } from './provider.ts';

/** Keys of AWS. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** The base URL of Bedrock in a region. */
export function bedrockURL(region: string): URL {
  return new URL(`https://bedrock-mantle.${region}.api.aws/anthropic`);
}

/** The name of the service that a signature is for. Bedrock serves the same API under two names. */
export function signingService(host: string): 'bedrock' | 'bedrock-mantle' {
  return host.startsWith('bedrock-runtime') ? 'bedrock' : 'bedrock-mantle';
}

export class BedrockProvider implements ModelProvider<AwsKeys> {
  readonly credentials: CredentialSource<AwsKeys>;
  readonly #region: string;

  constructor(credentials: CredentialSource<AwsKeys>, region: string) {
    this.credentials = credentials;
    this.#region = region;
  }

  prepare(call: ModelCall): PreparedRequest {
    return { method: 'POST', path: messagesPath(call), headers: call.headers, body: call.body };
  }

  prepareProbe(): undefined {
    return undefined;
  }

  async authorize(keys: AwsKeys, request: PreparedRequest, host: string): Promise<OutgoingHttpHeaders> {
    const { signRequest } = await import('./aws-auth.ts');
    return await signRequest(keys, { region: this.#region, service: signingService(host) }, request, host);
  }
}
