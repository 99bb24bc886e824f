// Access tokens of Google, with Google's own library. A bundle of its own, which only a gateway that
// uses Vertex AI loads.

import type { Agent } from 'node:http';
import { Compute, IdentityPoolClient, type IdentityPoolClientOptions, JWT } from 'google-auth-library';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const ANSWER_MS = 10_000;
/** A token has a few KiB. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** A token that expires. */
export interface AccessToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | undefined;
}

/** The key of a service account, as the console of Google writes it. */
export interface ServiceAccountKey {
  readonly client_email: string;
  readonly private_key: string;
  readonly private_key_id?: string | undefined;
}

/** Chooses the connection for a URL of Google, with the proxy and the CAs of the gateway. */
export type AgentFor = (url: URL) => Agent;

const METADATA_ADDRESS = '169.254.169.254';

/** The library would ask the proxy for the address of the node, and takes no connections of ours here. */
function excludeFromProxy(hosts: readonly string[]): void {
  const { NO_PROXY, no_proxy } = process.env;
  const known = (NO_PROXY ?? no_proxy ?? '').split(',').filter((host) => host !== '');
  process.env.NO_PROXY = [...new Set([...known, ...hosts])].join(',');
}

/** A token for the service account of the pod, from the metadata server of the node. @throws errors of Google */
export async function askMetadataServer(): Promise<AccessToken> {
  const { GCE_METADATA_HOST: other = METADATA_ADDRESS } = process.env;
  excludeFromProxy([METADATA_ADDRESS, new URL(`http://${other}`).hostname]);
  return await tokenOf(new Compute({ scopes: SCOPE }));
}

/** A token for a signed statement of the service account. @throws errors of Google */
export async function signInWithKey(key: ServiceAccountKey, agentFor: AgentFor): Promise<AccessToken> {
  const { client_email: email, private_key, private_key_id: keyId } = key;
  return await tokenOf(
    new JWT({
      ...{ email, key: private_key, scopes: [SCOPE] },
      ...(keyId === undefined ? {} : { keyId }),
      transporterOptions: transport(agentFor),
    }),
  );
}

/** A token in exchange for one of another identity provider, such as the cluster. @throws errors of Google */
export async function exchangeToken(config: IdentityPoolClientOptions, agentFor: AgentFor): Promise<AccessToken> {
  return await tokenOf(new PooledIdentity({ ...config, scopes: [SCOPE], transporterOptions: transport(agentFor) }));
}

/** The library gives its own connections, without proxy and CAs, to the exchange itself. */
class PooledIdentity extends IdentityPoolClient {
  constructor(options: IdentityPoolClientOptions) {
    super(options);
    Object.assign(this.stsCredential, { transporter: this.transporter });
  }
}

function transport(agentFor: AgentFor) {
  // A redirection would lead what is exchanged for the token to somebody else.
  const redirect = 'error' as const;
  return { agent: agentFor, timeout: ANSWER_MS, maxContentLength: MAX_ANSWER_BYTES, size: MAX_ANSWER_BYTES, redirect };
}

async function tokenOf(client: Compute | JWT | IdentityPoolClient): Promise<AccessToken> {
  const { token } = await client.getAccessToken().catch((error: unknown) => {
    // The library takes any text for an object, and the error of that quotes the text.
    throw error instanceof TypeError ? new Error('the answer is not in the form of a token') : error;
  });
  if (typeof token !== 'string' || token === '') throw new Error('the answer has no token');
  return { token, expiresAt: client.credentials.expiry_date ?? undefined };
}
