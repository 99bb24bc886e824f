// Canaries: a Secret and a token that nobody needs. The controller places them, the gateway knows
// them, and neither keeps a table: both derive the values from one key.

import { createHmac } from 'node:crypto';
import { GROUP } from './group.ts';

/** On an agent pod: the target namespaces that hold a canary Secret, separated by commas. */
export const ANNOTATION_CANARY_NAMESPACES = `${GROUP}/canary-namespaces`;
/** On an agent pod: the kubeconfig with the canary token, which is mounted into the sandbox. */
export const ANNOTATION_CANARY_KUBECONFIG = `${GROUP}/canary-kubeconfig`;

/** One attempt of a session. */
export interface AttemptId {
  readonly session: string;
  readonly attempt: number;
}

/**
 * The canary token of an attempt. It has the form of a service account's token, and no API server
 * accepts it. Without the key it cannot be told from a real one, nor made for another attempt.
 */
export function canaryToken(key: string, { session, attempt }: AttemptId): string {
  const id = derive(key, `token ${session} ${attempt}`, 16);
  const account = 'kubernetes.io/serviceaccount';
  return [
    Buffer.from(JSON.stringify({ alg: 'RS256', kid: derive(key, 'kid', 32).toString('base64url') })),
    Buffer.from(
      JSON.stringify({
        iss: account,
        [`${account}/namespace`]: 'kube-system',
        [`${account}/secret.name`]: 'cluster-admin-token',
        [`${account}/service-account.name`]: 'cluster-admin',
        [`${account}/service-account.uid`]: formatUuid(id),
        sub: 'system:serviceaccount:kube-system:cluster-admin',
      }),
    ),
    derive(key, `signature ${session} ${attempt}`, 256),
  ]
    .map((part) => part.toString('base64url'))
    .join('.');
}

/**
 * The contents of a namespace's canary Secret: credentials that open nothing, and the canary host.
 * They depend on the namespace alone, so that the controller recognizes its own Secret by them.
 */
export function canarySecretData(key: string, namespace: string, host: string): Readonly<Record<string, string>> {
  const id = base32(derive(key, `access key ${namespace}`, 16)).slice(0, 16);
  return {
    AWS_ACCESS_KEY_ID: `AKIA${id}`,
    AWS_SECRET_ACCESS_KEY: derive(key, `secret key ${namespace}`, 30).toString('base64'),
    VAULT_ADDR: `https://${host}`,
    VAULT_TOKEN: `hvs.${derive(key, `vault ${namespace}`, 66).toString('base64url')}`,
  };
}

/** @param length in bytes */
function derive(key: string, purpose: string, length: number): Buffer {
  const blocks: Buffer[] = [];
  for (let index = 0; blocks.length * 32 < length; index += 1) {
    blocks.push(createHmac('sha256', key).update(`${index} ${purpose}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  const variant = '89ab'[Number.parseInt(hex[16] ?? '0', 16) % 4];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function base32(bytes: Buffer): string {
  return [...bytes].map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[byte % 32]).join('');
}
