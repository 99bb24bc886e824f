// The gateway's settings, read from environment variables.

import * as z from 'zod';
import { DEFAULT_SESSION_LIMITS } from '../audit/session-quota.ts';
import { ADMIN_SOCKET, auditAnchor, ports } from './protocol.ts';

/** Of a base URL, only scheme, host, port and path are used. A password in it would be no secret. */
const baseURL = z
  .url({ protocol: /^https?$/ })
  .refine((url) => /^\w+:\/\/[^/?#@]+(?:\/[^?#]*)?$/.test(url), 'must have no user, query or fragment');
const port = z.coerce.number().int().min(0).max(65535);

export const gatewayEnvironment = z.object({
  /** The directory of audit.db. */
  OPLAB_DATA_DIR: z.string().default('/var/lib/oplab'),
  /** The key of the digests of raw texts: 64 hexadecimal digits. Not on the volume of audit.db. */
  OPLAB_AUDIT_KEY_FILE: z.string().default('/etc/oplab/audit-key/hmac-key'),
  /** What one session may use of audit.db. */
  OPLAB_AUDIT_SESSION_BYTES: z.coerce
    .number()
    .int()
    .min(1024 * 1024)
    .default(DEFAULT_SESSION_LIMITS.bytes),
  OPLAB_AUDIT_SESSION_ENTRIES: z.coerce.number().int().min(100).default(DEFAULT_SESSION_LIMITS.entries),
  /** Sealed sessions without an entry for so long are pruned, for example 90d. Default: never. */
  OPLAB_AUDIT_RETENTION: z.string().optional(),
  /** The Unix socket of the admin API. */
  OPLAB_ADMIN_SOCKET: z.string().default(ADMIN_SOCKET),
  OPLAB_TLS_CERT_FILE: z.string().default('/etc/oplab/tls/tls.crt'),
  OPLAB_TLS_KEY_FILE: z.string().default('/etc/oplab/tls/tls.key'),
  /** PEM file with the Ed25519 key that signs the audit log. Not on the volume of the log. */
  OPLAB_SIGNING_KEY_FILE: z.string().default('/etc/oplab/signing/signing.key'),
  /** The name of the key and of the log, as in a URL without its scheme. */
  OPLAB_SIGNING_NAME: z.string().default('oplab.dev/audit'),
  /** Public keys, separated by blanks, whose signatures are still accepted. */
  OPLAB_SIGNING_PREVIOUS_KEYS: z.string().default(''),
  /** The ConfigMap in which it publishes what it signed. */
  OPLAB_AUDIT_ANCHOR: z.string().min(1).default(auditAnchor.name),
  /** The namespace of the operator, with this ConfigMap. */
  OPLAB_SYSTEM_NAMESPACE: z.string().default('oplab-system'),
  /** The namespace of agent pods and their service accounts. */
  OPLAB_AGENTS_NAMESPACE: z.string().default('oplab-agents'),
  /** Who serves the Messages API: anthropic is everybody who serves it as Anthropic does. */
  OPLAB_MODEL_PROVIDER: z.enum(['anthropic', 'bedrock', 'vertex']).default('anthropic'),
  /** How the gateway proves who asks. Default: the first of its provider. */
  OPLAB_MODEL_AUTH: z.enum(['x-api-key', 'bearer', 'workload-identity', 'access-key', 'credentials-file']).optional(),
  /** The region of Amazon Bedrock or Vertex AI. */
  OPLAB_MODEL_REGION: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/)
    .optional(),
  /** The project of Vertex AI. */
  OPLAB_MODEL_PROJECT: z
    .string()
    .regex(/^[a-z0-9][a-z0-9:.-]{0,62}$/)
    .optional(),
  /** Base URL of the API, with or without /v1. Default: that of the provider, in the region. */
  OPLAB_UPSTREAM_URL: baseURL.optional(),
  /** File with the API key. No header is sent while the file does not exist. */
  OPLAB_MODEL_KEY_FILE: z.string().optional(),
  /** The folder with access-key-id, secret-access-key and session-token, or credentials.json. */
  OPLAB_MODEL_SECRET_DIR: z.string().optional(),
  /** The role of the pod, and a token of its ServiceAccount. EKS sets both. */
  AWS_ROLE_ARN: z.string().optional(),
  AWS_WEB_IDENTITY_TOKEN_FILE: z.string().optional(),
  /** Another endpoint of STS than the region's own. */
  AWS_ENDPOINT_URL_STS: baseURL.optional(),
  /** Where EKS Pod Identity has the credential of the pod. EKS sets both. */
  AWS_CONTAINER_CREDENTIALS_FULL_URI: z.url({ protocol: /^https?$/ }).optional(),
  AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: z.string().optional(),
  /** What all built-in prices are multiplied with. */
  OPLAB_PRICE_FACTOR: z.coerce.number().positive().max(100).default(1),
  /** YAML or JSON: model → {input, output, cacheRead, cacheWrite} in USD per million tokens. */
  OPLAB_PRICES_FILE: z.string().optional(),
  OPLAB_UPSTREAM_CA_FILE: z.string().optional(),
  /** Overrides HTTP_PROXY and HTTPS_PROXY for requests to the model API. */
  OPLAB_UPSTREAM_PROXY: z.url({ protocol: /^https?$/ }).optional(),
  /** The limit for all Incidents together. */
  OPLAB_STATUS_WRITES_PER_SECOND: z.coerce.number().positive().default(10),
  /** Bytes of bodies that all doors may keep in memory. Default: by the size of the heap. */
  OPLAB_BODY_MEMORY_BYTES: z.coerce.number().int().positive().optional(),
  OPLAB_AGENT_PORT: port.default(ports.agent),
  OPLAB_KUBE_PORT: port.default(ports.kube),
  OPLAB_DOCKER_PORT: port.default(ports.docker),
  /** YAML or JSON: the Docker hosts that AgentClasses may use. Without the file there are none. */
  OPLAB_DOCKER_ENDPOINTS_FILE: z.string().optional(),
  /** File with the key that canaries are derived from. Without it, there are no tripwires. */
  OPLAB_TRIPWIRE_KEY_FILE: z.string().optional(),
  /** The name of the canary Secret in target namespaces. */
  OPLAB_CANARY_SECRET: z.string().min(1).default('cloud-admin-credentials'),
  /** The name under which pods find the canary host's port. */
  OPLAB_CANARY_HOST: z.string().min(1).default('vault.oplab-system.svc'),
  OPLAB_CANARY_PORT: port.default(ports.canary),
  OPLAB_READ_PORT: port.default(ports.read),
  OPLAB_HEALTH_PORT: port.default(ports.health),
});
export type GatewayEnvironment = z.infer<typeof gatewayEnvironment>;
