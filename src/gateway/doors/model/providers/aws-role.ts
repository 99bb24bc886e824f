// The AWS role of the gateway's pod: by a token of its ServiceAccount (IRSA), or from the agent of EKS
// Pod Identity on the node.

import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { errorMessage } from '../../../../errors.ts';
import type { GatewayEnvironment } from '../../../environment.ts';
import type { Connections } from '../connections.ts';
import type { AwsKeys } from './bedrock.ts';
import { type CredentialSource, FetchedCredential, FetchFailed, type OnSecret } from './credential.ts';

/** Where the pod has its identity. EKS sets these, or the chart. */
export type AwsIdentity = Pick<
  GatewayEnvironment,
  | 'AWS_ROLE_ARN'
  | 'AWS_WEB_IDENTITY_TOKEN_FILE'
  | 'AWS_ENDPOINT_URL_STS'
  | 'AWS_CONTAINER_CREDENTIALS_FULL_URI'
  | 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'
>;

/** Refusals of AWS that pass, although their status is 4xx. */
const PASSING = /throttl|limitexceeded|communicationerror|timeout|slowdown/i;

const FIX =
  'let the role trust the ServiceAccount oplab-gateway of the release namespace, and check model.aws.roleARN in the values of the chart';

export function awsRole(
  settings: AwsIdentity,
  region: string,
  connections: Connections,
  onSecret: OnSecret,
): CredentialSource<AwsKeys> {
  const { AWS_ROLE_ARN: roleARN, AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile } = settings;
  const podIdentity = settings.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  const podIdentityToken = settings.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
  const ask = async () => {
    const auth = await import('./aws-auth.ts');
    if (roleARN !== undefined && tokenFile !== undefined) {
      const token = await readToken(tokenFile);
      onSecret(token);
      const agents = {
        http: connections.agentFor(new URL('http://sts')),
        https: connections.agentFor(new URL('https://sts')),
      };
      return await auth.assumeRole({ roleARN, token, region, endpoint: settings.AWS_ENDPOINT_URL_STS, agents });
    }
    if (podIdentity !== undefined && podIdentityToken !== undefined) {
      return await auth.askPodIdentity(podIdentity, podIdentityToken);
    }
    throw new FetchFailed('the pod of the gateway has no identity of AWS', true);
  };
  return new FetchedCredential({
    what: `the AWS credential ${roleARN === undefined ? 'of EKS Pod Identity' : `of role ${roleARN}`}`,
    fix: FIX,
    fetch: async () => {
      try {
        const { keys, expiresAt } = await ask();
        for (const secret of [keys.secretAccessKey, keys.sessionToken]) if (secret !== undefined) onSecret(secret);
        return { credential: keys, expiresAt };
      } catch (error) {
        throw judge(error);
      }
    },
  });
}

async function readToken(file: string): Promise<string> {
  return (await readFile(file, 'utf8')).trim();
}

function judge(error: unknown): FetchFailed {
  if (error instanceof FetchFailed) return error;
  const name = nameOf(error);
  const said = errorMessage(error);
  const status = statusOf(error, said);
  const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429 && !PASSING.test(name);
  return new FetchFailed(said.includes(name) ? said : `${name}: ${said}`, isFinal, error);
}

/** The code of AWS: the name of the error, or for an answer of Pod Identity a field of it. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'error';
  return 'Code' in error && typeof error.Code === 'string' ? error.Code : error.name;
}

const answered = z.looseObject({ $metadata: z.looseObject({ httpStatusCode: z.number() }) });

/** The status of AWS's answer; 0 if there was none. The library of Pod Identity only says it. */
function statusOf(error: unknown, said: string): number {
  const known = answered.safeParse(error).data?.$metadata.httpStatusCode;
  return known ?? Number(/responded with status: (\d{3})/.exec(said)?.[1] ?? 0);
}
