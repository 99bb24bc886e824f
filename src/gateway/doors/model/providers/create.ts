// Chooses the provider of the model API and its credential, as the environment of the gateway says.

import { InvalidInput, OplabError } from '../../../../errors.ts';
import type { GatewayEnvironment } from '../../../environment.ts';
import { Connections } from '../connections.ts';
import { type ModelAPI, ModelUpstream } from '../upstream.ts';
import { AnthropicProvider } from './anthropic.ts';
import { type AwsIdentity, awsRole } from './aws-role.ts';
import { type AwsKeys, BedrockProvider, bedrockURL } from './bedrock.ts';
import { type CredentialSource, FileCredential, keyFile, type OnSecret, secretFile } from './credential.ts';
import { googleFile, googleMetadata } from './google-identity.ts';
import { VertexProvider, vertexURL } from './vertex.ts';

/** The settings of the gateway that say where the model is, and with which credential. */
export type ProviderSettings = AwsIdentity &
  Pick<
    GatewayEnvironment,
    | 'OPLAB_UPSTREAM_URL'
    | 'OPLAB_UPSTREAM_CA_FILE'
    | 'OPLAB_UPSTREAM_PROXY'
    | 'OPLAB_MODEL_PROVIDER'
    | 'OPLAB_MODEL_AUTH'
    | 'OPLAB_MODEL_REGION'
    | 'OPLAB_MODEL_PROJECT'
    | 'OPLAB_MODEL_KEY_FILE'
    | 'OPLAB_MODEL_SECRET_DIR'
  >;

const ANTHROPIC_URL = 'https://api.anthropic.com';

/** The ways to prove who asks, for each provider; the first is the default. */
const AUTH_OF = {
  anthropic: ['x-api-key', 'bearer'],
  bedrock: ['workload-identity', 'access-key', 'bearer'],
  vertex: ['workload-identity', 'credentials-file'],
} as const;

/** @param onSecret is called with each secret that is used. @throws InvalidInput */
export function createModelAPI(settings: ProviderSettings, onSecret: OnSecret): ModelAPI {
  const connections = new Connections({
    caFile: settings.OPLAB_UPSTREAM_CA_FILE,
    proxy: settings.OPLAB_UPSTREAM_PROXY,
  });
  const baseURL = (otherwise: () => URL) =>
    settings.OPLAB_UPSTREAM_URL === undefined ? otherwise() : new URL(settings.OPLAB_UPSTREAM_URL);
  const key = () => keyFile(settings.OPLAB_MODEL_KEY_FILE, onSecret);
  const auth = authOf(settings);
  switch (settings.OPLAB_MODEL_PROVIDER) {
    case 'anthropic': {
      const provider = new AnthropicProvider(key(), auth === 'bearer' ? 'bearer' : 'x-api-key');
      return new ModelUpstream({ baseURL: baseURL(() => new URL(ANTHROPIC_URL)), provider, connections });
    }
    case 'bedrock': {
      const region = required(settings, 'OPLAB_MODEL_REGION', 'eu-west-1');
      const url = baseURL(() => bedrockURL(region));
      if (auth === 'bearer') {
        return new ModelUpstream({
          baseURL: url,
          provider: new AnthropicProvider(key(), 'bearer', false),
          connections,
        });
      }
      const keys: CredentialSource<AwsKeys> =
        auth === 'access-key' ? accessKey(settings, onSecret) : awsRole(settings, region, connections, onSecret);
      return new ModelUpstream({ baseURL: url, provider: new BedrockProvider(keys, region), connections });
    }
    case 'vertex': {
      const region = required(settings, 'OPLAB_MODEL_REGION', 'europe-west1');
      const project = required(settings, 'OPLAB_MODEL_PROJECT', 'my-project');
      const tokens =
        auth === 'credentials-file'
          ? googleFile(secretFile(secretDir(settings), 'credentials.json'), connections, onSecret)
          : googleMetadata(onSecret);
      const provider = new VertexProvider(tokens, project, region);
      return new ModelUpstream({ baseURL: baseURL(() => vertexURL(region)), provider, connections });
    }
  }
}

function authOf({ OPLAB_MODEL_PROVIDER: provider, OPLAB_MODEL_AUTH: auth }: ProviderSettings): string {
  const ways: readonly string[] = AUTH_OF[provider];
  if (auth === undefined) return ways[0] ?? '';
  if (ways.includes(auth)) return auth;
  throw new InvalidInput(
    `OPLAB_MODEL_AUTH: ${auth} is not a way to authenticate to provider ${provider}; use ${ways.join(' or ')}`,
  );
}

function required(settings: ProviderSettings, name: 'OPLAB_MODEL_REGION' | 'OPLAB_MODEL_PROJECT', example: string) {
  const value = settings[name];
  if (value !== undefined) return value;
  const provider = settings.OPLAB_MODEL_PROVIDER;
  throw new InvalidInput(`${name}: must be set for provider ${provider}, for example to ${example}`);
}

function secretDir({ OPLAB_MODEL_SECRET_DIR: dir }: ProviderSettings): string {
  if (dir !== undefined) return dir;
  throw new InvalidInput('OPLAB_MODEL_SECRET_DIR: must be set to the folder of the mounted Secret of the model');
}

const AWS_FILES = ['access-key-id', 'secret-access-key', 'session-token'] as const;

/** Keys of AWS that somebody has put into the Secret of the model. */
function accessKey(settings: ProviderSettings, onSecret: OnSecret): CredentialSource<AwsKeys> {
  const dir = secretDir(settings);
  return new FileCredential(
    AWS_FILES.map((name) => secretFile(dir, name)),
    ([accessKeyId, secretAccessKey, sessionToken]) => {
      if (accessKeyId === undefined || secretAccessKey === undefined) {
        const missing = accessKeyId === undefined ? AWS_FILES[0] : AWS_FILES[1];
        throw new OplabError(
          'OPLAB_MODEL_KEY_REFUSED',
          `there is no AWS credential: put ${missing} into the Secret of model.apiKey in the values of the chart (oplab-model-key by default)`,
        );
      }
      for (const secret of [secretAccessKey, sessionToken]) if (secret !== undefined) onSecret(secret);
      return { accessKeyId, secretAccessKey, sessionToken };
    },
  );
}
