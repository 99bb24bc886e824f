// The connections to the model API and to where its credentials come from: proxy and CAs, which may
// change while the gateway runs.

import type { Agent } from 'node:http';
import * as z from 'zod';
import { parseEnvironment } from '../../../environment.ts';
import { readPem, trustBesidesPublic } from '../../../net/certificate-files.ts';
import { createAgent } from '../../../net/request.ts';

export interface ConnectionsOptions {
  /** PEM certificates that are trusted in addition to the public ones. */
  readonly caFile?: string | undefined;
  /** Overrides HTTP_PROXY and HTTPS_PROXY. */
  readonly proxy?: string | undefined;
  readonly environment?: NodeJS.ProcessEnv;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #agents = new Map<string, { ca: string | undefined; agent: Agent }>();

  constructor(options: ConnectionsOptions = {}) {
    this.#options = options;
  }

  /** The connections for URLs with the scheme of this one. @throws InvalidInput if the CAs cannot be read */
  agentFor(url: URL): Agent {
    const { caFile, proxy, environment } = this.#options;
    const ca = caFile === undefined ? undefined : readPem(caFile);
    const kept = this.#agents.get(url.protocol);
    if (kept !== undefined && kept.ca === ca) return kept.agent;
    const inherited = proxyEnvironment(environment);
    const proxyEnv =
      proxy === undefined ? inherited : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: inherited.NO_PROXY };
    const agent = createAgent(url, {
      maxSockets: 256,
      proxyEnv,
      ...(ca === undefined ? {} : { ca: trustBesidesPublic(ca) }),
    });
    this.#agents.set(url.protocol, { ca, agent });
    return agent;
  }
}

const proxyVariables = z.object({
  HTTP_PROXY: z.string().optional(),
  http_proxy: z.string().optional(),
  HTTPS_PROXY: z.string().optional(),
  https_proxy: z.string().optional(),
  NO_PROXY: z.string().optional(),
  no_proxy: z.string().optional(),
});

function proxyEnvironment(environment?: NodeJS.ProcessEnv) {
  const { HTTP_PROXY, http_proxy, HTTPS_PROXY, https_proxy, NO_PROXY, no_proxy } = parseEnvironment(
    proxyVariables,
    environment,
  );
  return {
    HTTP_PROXY: HTTP_PROXY ?? http_proxy,
    HTTPS_PROXY: HTTPS_PROXY ?? https_proxy,
    NO_PROXY: NO_PROXY ?? no_proxy,
  };
}
