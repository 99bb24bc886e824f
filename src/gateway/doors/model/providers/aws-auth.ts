// Signatures and credentials of AWS, with AWS's own libraries. A bundle of its own, which only a gateway
// that uses Amazon Bedrock loads.

import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { type Agent, IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { fromHttp } from '@aws-sdk/credential-provider-http';
import { fromWebToken } from '@aws-sdk/credential-provider-web-identity';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { SignatureV4 } from '@smithy/signature-v4';
import { readAnswer } from '../../../../net/answer-body.ts';
import type { AwsKeys } from './bedrock.ts';
import type { PreparedRequest } from './provider.ts';

/** SHA-256 as the library wants it, done by Node. */
class Sha256 {
  readonly #hash: Hash | Hmac;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    if (secret === undefined) this.#hash = createHash('sha256');
    else this.#hash = createHmac('sha256', typeof secret === 'string' ? secret : bytesOf(secret));
  }
  update(chunk: Uint8Array | string): void {
    this.#hash.update(chunk);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    throw new Error('a hash is used once');
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A proxy on the way may change these, and none of them changes what is asked. */
const UNSIGNED = new Set(['accept', 'accept-encoding', 'content-length']);

/** The headers of a signed request, all that was signed included. */
export async function signRequest(
  keys: AwsKeys,
  { region, service }: { readonly region: string; readonly service: string },
  { method, path, headers, body }: PreparedRequest,
  host: string,
): Promise<OutgoingHttpHeaders> {
  const signer = new SignatureV4({
    ...{ service, region, sha256: Sha256 },
    credentials: {
      accessKeyId: keys.accessKeyId,
      secretAccessKey: keys.secretAccessKey,
      ...(keys.sessionToken === undefined ? {} : { sessionToken: keys.sessionToken }),
    },
  });
  const url = new URL(path, 'https://host');
  const signed = await signer.sign(
    {
      ...{
        method,
        protocol: 'https:',
        hostname: host,
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
      },
      headers: { ...onlyStrings(headers), host },
      ...(body === undefined ? {} : { body }),
    },
    { unsignableHeaders: UNSIGNED },
  );
  return signed.headers;
}

function onlyStrings(headers: OutgoingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}

/** Keys that expire. */
export interface TemporaryKeys {
  readonly keys: AwsKeys;
  readonly expiresAt: number | undefined;
}

export interface WebIdentity {
  readonly roleARN: string;
  /** The token of the pod's ServiceAccount. */
  readonly token: string;
  readonly region: string;
  /** Another endpoint of STS than the region's own. */
  readonly endpoint?: string | undefined;
  readonly agents: { readonly http: Agent; readonly https: Agent };
}

const CONNECT_MS = 5000;
const ANSWER_MS = 10_000;
/** The keys have a few KiB. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** The library reads whatever comes, for as long as it comes. */
class LimitedHandler extends NodeHttpHandler {
  override async handle(...request: Parameters<NodeHttpHandler['handle']>) {
    const handled = await super.handle(...request);
    const { response } = handled;
    if (response.body instanceof IncomingMessage) {
      const body = await readAnswer(response.body, MAX_ANSWER_BYTES, { wholeMs: ANSWER_MS });
      response.body = Readable.from([body]);
    }
    return handled;
  }
}

/** Keys of a role, for a token of the pod's ServiceAccount (IRSA). @throws errors of AWS */
export async function assumeRole(identity: WebIdentity): Promise<TemporaryKeys> {
  const { roleARN, token, region, endpoint, agents } = identity;
  const provider = fromWebToken({
    ...{ roleArn: roleARN, webIdentityToken: token, roleSessionName: 'oplab-gateway' },
    clientConfig: {
      ...{ region, maxAttempts: 2 },
      ...(endpoint === undefined ? {} : { endpoint }),
      requestHandler: new LimitedHandler({
        ...{ httpAgent: agents.http, httpsAgent: agents.https },
        ...{ connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS, throwOnRequestTimeout: true },
      }),
    },
  });
  return temporary(await provider());
}

/** Keys from the agent of EKS Pod Identity on the node. @throws errors of AWS */
export async function askPodIdentity(url: string, tokenFile: string): Promise<TemporaryKeys> {
  const provider = fromHttp({
    ...{ awsContainerCredentialsFullUri: url, awsContainerAuthorizationTokenFile: tokenFile },
    ...{ timeout: CONNECT_MS, maxRetries: 1 },
  });
  return temporary(await provider());
}

function temporary({ accessKeyId, secretAccessKey, sessionToken, expiration }: AwsKeys & { expiration?: Date }) {
  return { keys: { accessKeyId, secretAccessKey, sessionToken }, expiresAt: expiration?.getTime() };
}
