// Requests straight to the API server, past the gateway, with the rights of any user.

import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import * as z from 'zod';
import { KUBECONFIG } from './live.ts';

const kubeconfig = z.object({
  clusters: z.tuple([
    z.object({ cluster: z.object({ server: z.string(), 'certificate-authority-data': z.string() }) }),
  ]),
  users: z.tuple([
    z.object({ user: z.object({ 'client-certificate-data': z.string(), 'client-key-data': z.string() }) }),
  ]),
});

export interface DirectRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

export interface DirectAnswer {
  readonly status: number;
  readonly body: string;
}

/** Whom to impersonate, or whose token to use; by default the request is the admin's own. */
export type As = { readonly user: string; readonly groups: readonly string[] } | { readonly token: string };

/** The Audit-IDs of all requests that were sent with the token of somebody else. */
export const sentDirectly = new Set<string>();

/** A client of the API server with the admin's certificate. */
export async function directClient(): Promise<(wanted: DirectRequest, as?: As) => Promise<DirectAnswer>> {
  const { clusters, users } = kubeconfig.parse(parse(await readFile(KUBECONFIG, 'utf8')));
  const { server, 'certificate-authority-data': ca } = clusters[0].cluster;
  const { 'client-certificate-data': cert, 'client-key-data': key } = users[0].user;
  const decode = (data: string) => Buffer.from(data, 'base64');
  const tls = { ca: decode(ca), cert: decode(cert), key: decode(key) };
  return ({ method, path, headers = {}, body = '' }, as) =>
    new Promise((resolve, reject) => {
      const byToken = as !== undefined && 'token' in as;
      const auditID = `test-${crypto.randomUUID()}`;
      if (byToken) sentDirectly.add(auditID);
      const identity =
        as === undefined
          ? {}
          : byToken
            ? { authorization: `Bearer ${as.token}` }
            : { 'impersonate-user': as.user, 'impersonate-group': [...as.groups] };
      const outgoing = request(new URL(path, server), {
        method,
        ...(byToken ? { ca: tls.ca } : tls),
        // Each with its own certificate, or none.
        agent: false,
        headers: { ...headers, ...identity, 'audit-id': auditID, 'content-length': Buffer.byteLength(body) },
        timeout: 20_000,
      });
      outgoing.once('error', reject);
      outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path}`)));
      outgoing.once('response', (answer) => {
        text(answer).then((read) => resolve({ status: answer.statusCode ?? 0, body: read }), reject);
      });
      outgoing.end(body);
    });
}
