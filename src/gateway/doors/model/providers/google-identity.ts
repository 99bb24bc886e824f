// The Google identity of the gateway: the service account of its pod, or what a credential file says.

import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { errorMessage } from '../../../../errors.ts';
import { checkInput, joinProblems } from '../../../../input/parse-input.ts';
import type { Connections } from '../connections.ts';
import { type CredentialSource, FetchedCredential, FetchFailed, type OnSecret } from './credential.ts';
import type { AccessToken } from './google-auth.ts';

/** A token of the service account that belongs to the pod's ServiceAccount (GKE Workload Identity). */
export function googleMetadata(onSecret: OnSecret): CredentialSource<string> {
  return source(
    'the Google access token of the pod',
    'bind the ServiceAccount oplab-gateway of the release namespace to a service account of Google that may use Vertex AI',
    onSecret,
    async () => (await import('./google-auth.ts')).askMetadataServer(),
  );
}

/** The kinds of credential files that are accepted: no other may make the gateway run a program. */
const credentialFile = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('service_account'),
    client_email: z.string(),
    private_key: z.string(),
    private_key_id: z.string().optional(),
  }),
  z.looseObject({
    type: z.literal('external_account'),
    audience: z.string(),
    subject_token_type: z.string(),
    token_url: z.url(),
    service_account_impersonation_url: z.url().optional(),
    credential_source: z.union([z.looseObject({ file: z.string() }), z.looseObject({ url: z.url() })]),
  }),
]);

/** A token for the credential file of a service account, or of a workload identity pool. */
export function googleFile(file: string, connections: Connections, onSecret: OnSecret): CredentialSource<string> {
  return source(
    `the Google access token for ${file}`,
    'put a valid credentials.json into the Secret of model.apiKey in the values of the chart (oplab-model-key by default)',
    onSecret,
    async () => {
      const auth = await import('./google-auth.ts');
      const content = await readCredential(file);
      const agentFor = (url: URL) => connections.agentFor(url);
      if (content.type === 'external_account') {
        const { service_account_impersonation_url: impersonation, ...config } = content;
        const more = impersonation === undefined ? {} : { service_account_impersonation_url: impersonation };
        return await auth.exchangeToken({ ...config, ...more }, agentFor);
      }
      onSecret(content.private_key);
      const token = await auth.signInWithKey(content, agentFor);
      onSecret(token.token);
      // Again, as the newest: the log keeps a limited number of secrets.
      onSecret(content.private_key);
      return token;
    },
  );
}

async function readCredential(file: string) {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    // The error of JSON.parse quotes what it read.
    const why = error instanceof SyntaxError ? 'it is not JSON' : errorMessage(error);
    throw new FetchFailed(`the file cannot be read: ${why}`, true);
  }
  const parsed = checkInput(credentialFile, json, { values: 'hidden' });
  if (parsed.success) return parsed.data;
  throw new FetchFailed(joinProblems('the file is not one that is accepted', parsed.problems), true);
}

function source(what: string, fix: string, onSecret: OnSecret, ask: () => Promise<AccessToken>) {
  return new FetchedCredential({
    what,
    fix,
    fetch: async () => {
      try {
        const { token, expiresAt } = await ask();
        onSecret(token);
        return { credential: token, expiresAt };
      } catch (error) {
        if (error instanceof FetchFailed) throw error;
        throw new FetchFailed(errorMessage(error), isFinal(error), error);
      }
    },
  });
}

const refusal = z.looseObject({ status: z.number() });

/** Whether Google has refused the identity, so that asking again does not help. */
function isFinal(error: unknown): boolean {
  const status = refusal.safeParse(error).data?.status ?? refusal.safeParse(Object(error).response).data?.status;
  return status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429;
}
