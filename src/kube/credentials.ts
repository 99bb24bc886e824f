// Finds the API server and the credentials for it: from a kubeconfig, the cluster, or a token.

import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { bufferFromFileOrString, KubeConfig } from '@kubernetes/client-node';
import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';
import { errorMessage, InvalidInput } from '../errors.ts';
import { requireFile } from '../input/file.ts';

/** TLS settings of a connection to the API server. */
export interface TlsOptions {
  ca?: Buffer | string;
  cert?: Buffer | string;
  key?: Buffer | string;
  rejectUnauthorized?: boolean;
  servername?: string;
}

/** The API server, for code that opens its own connections (kube door, port-forward). */
export interface KubeServer {
  readonly url: URL;
  /** Reads the files again on each call, so that rotated certificates take effect. */
  tls(): TlsOptions;
  /** The value of the Authorization header; undefined if a client certificate authenticates. */
  authorization(): Promise<string | undefined>;
  /** An agent that uses the proxy-url of the kubeconfig; undefined if it has none. */
  proxyAgent(): Promise<Agent | undefined>;
}

/** A bearer token: a fixed one, or a function that is called for each request. */
export type TokenSource = string | (() => Promise<string>);

export interface ServerOptions {
  /** Path of a kubeconfig. Default: KUBECONFIG, ~/.kube/config, then the pod's service account. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Replaces the credentials of the kubeconfig. */
  readonly token?: TokenSource;
}

const environment = z.object({ KUBECONFIG: z.string().default('~/.kube/config') });

/**
 * Finds the API server.
 * @throws InvalidInput if there is neither a kubeconfig nor a service account
 */
export function findServer(options: ServerOptions = {}): KubeServer & { readonly namespace: string | undefined } {
  const config = new KubeConfig();
  const where = options.kubeconfig ?? parseEnvironment(environment).KUBECONFIG;
  if (options.kubeconfig !== undefined) requireFile(options.kubeconfig, '--kubeconfig');
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw new InvalidInput(
      `kubeconfig ${where} cannot be read: ${describeProblem(error)}; check the file or --kubeconfig`,
      error,
    );
  }
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      const known = config
        .getContexts()
        .map((context) => context.name)
        .join(', ');
      throw new InvalidInput(`context "${options.context}" is not in the kubeconfig; it has: ${known || 'none'}`);
    }
    config.setCurrentContext(options.context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null && options.kubeconfig !== undefined) {
    throw new InvalidInput(
      `kubeconfig ${where} has no cluster for its current context; check its current-context, contexts and clusters, or set --context`,
    );
  }
  if (cluster === null || cluster.server === 'http://localhost:8080') {
    throw new InvalidInput('no Kubernetes cluster is configured; set KUBECONFIG, --kubeconfig or --context');
  }
  const url = URL.parse(cluster.server);
  if (url === null) {
    throw new InvalidInput(
      `kubeconfig ${where}: the server of cluster ${cluster.name} is not a valid URL; use one such as https://10.0.0.1:6443`,
    );
  }
  const user = config.getCurrentUser();

  // An exec plugin may return a client certificate instead of a token. It is kept from the last
  // call.
  let pluginTls: Pick<TlsOptions, 'cert' | 'key'> = {};
  let known: { until: number; authorization: string | undefined; agent: Agent | undefined } | undefined;
  const prove = async () => {
    if (known !== undefined && Date.now() < known.until) return known;
    const applied: RequestOptions = {};
    await config.applyToHTTPSOptions(applied);
    const header = Object.entries(applied.headers ?? {}).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
    const basic = applied.auth ? `Basic ${Buffer.from(applied.auth).toString('base64')}` : undefined;
    if (user?.exec !== undefined && user.exec !== null) {
      pluginTls = {
        ...(typeof applied.cert === 'string' ? { cert: applied.cert } : {}),
        ...(typeof applied.key === 'string' ? { key: applied.key } : {}),
      };
    }
    known = {
      // client-node caches exec credentials until they expire and token files for a minute. This
      // cache saves file reads.
      until: Date.now() + 10_000,
      authorization: typeof header === 'string' ? header.trim() : basic,
      agent: cluster.proxyUrl && typeof applied.agent === 'object' ? applied.agent : undefined,
    };
    return known;
  };

  return {
    url,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    tls() {
      const ca = bufferFromFileOrString(cluster.caFile, cluster.caData);
      const cert = options.token === undefined ? bufferFromFileOrString(user?.certFile, user?.certData) : null;
      const key = options.token === undefined ? bufferFromFileOrString(user?.keyFile, user?.keyData) : null;
      return {
        ...(ca === null ? {} : { ca }),
        ...(cert === null ? {} : { cert }),
        ...(key === null ? {} : { key }),
        ...(options.token === undefined ? pluginTls : {}),
        ...(cluster.skipTLSVerify ? { rejectUnauthorized: false } : {}),
        ...(cluster.tlsServerName ? { servername: cluster.tlsServerName } : {}),
      };
    },
    async authorization() {
      if (options.token === undefined) return (await prove()).authorization;
      return `Bearer ${typeof options.token === 'string' ? options.token : await options.token()}`;
    },
    async proxyAgent() {
      return cluster.proxyUrl ? (await prove()).agent : undefined;
    },
  };
}

/**
 * An error of the YAML parser. Its message is not used, because it quotes lines that may contain
 * tokens.
 */
const yamlProblem = z.object({ reason: z.string(), mark: z.object({ line: z.number() }).optional() });

/** Why a kubeconfig cannot be read, without quoting its contents. */
function describeProblem(error: unknown): string {
  const yaml = yamlProblem.safeParse(error);
  if (yaml.success) {
    const { reason, mark } = yaml.data;
    const problem = reason.replaceAll(/\s*(?:"[^"]*"|'[^']*'|!\S*)/g, '');
    return mark === undefined ? problem : `${problem}, line ${mark.line + 1}`;
  }
  // The library does not validate the shape: it throws a TypeError for a part that it does not
  // expect.
  return error instanceof TypeError ? 'it is not a kubeconfig' : errorMessage(error);
}
