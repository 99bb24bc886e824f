// Claude in Google Vertex AI: the model is in the path instead of the body, the version in the body
// instead of a header, and the credential is an access token of Google.

import type { OutgoingHttpHeaders } from 'node:http';
import type { CredentialSource } from './credential.ts';
import type { ModelCall, ModelProvider, PreparedRequest } from './provider.ts';

/** The version of the API that Vertex AI has. */
const VERSION = 'vertex-2023-10-16';

/** The base URL of Vertex AI in a region, in `us`, `eu` or `global`. */
export function vertexURL(region: string): URL {
  if (region === 'global') return new URL('https://aiplatform.googleapis.com');
  if (region === 'us' || region === 'eu') return new URL(`https://aiplatform.${region}.rep.googleapis.com`);
  return new URL(`https://${region}-aiplatform.googleapis.com`);
}

export class VertexProvider implements ModelProvider<string> {
  readonly credentials: CredentialSource<string>;
  readonly #place: string;

  constructor(credentials: CredentialSource<string>, project: string, region: string) {
    this.credentials = credentials;
    this.#place = `/v1/projects/${encodeURIComponent(project)}/locations/${encodeURIComponent(region)}`;
  }

  prepare({ request, headers, body }: ModelCall): PreparedRequest {
    // Vertex AI has `@` in names, and takes it as it is.
    const model = encodeURIComponent(request.model).replaceAll('%40', '@');
    const method = request.stream === true ? 'streamRawPredict' : 'rawPredict';
    const { 'anthropic-version': _version, ...others } = headers;
    return {
      method: 'POST',
      path: `${this.#place}/publishers/anthropic/models/${model}:${method}`,
      headers: others,
      body: withoutModel(body),
    };
  }

  prepareProbe(): undefined {
    return undefined;
  }

  authorize(token: string): OutgoingHttpHeaders {
    return { authorization: `Bearer ${token}` };
  }
}

function withoutModel(body: Buffer): Buffer {
  const { model: _model, ...others } = JSON.parse(body.toString('utf8'));
  return Buffer.from(JSON.stringify({ anthropic_version: VERSION, ...others }));
}
