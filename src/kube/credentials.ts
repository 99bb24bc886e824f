// Where the API server is and how to prove oneself to it: kubeconfig (with exec plugins), in-cluster, or a given token.

import type { Agent } from 'node:http';
import type { RequestOptions } from 'node:https';
import { bufferFromFileOrString, KubeConfig } from '@kubernetes/client-node';
import { z } from 'zod';
import { parseEnvironment } from '../environment.ts';
import { InvalidInput, messageOf } from '../errors.ts';

/** TLS settings of a connection to the API server. */
export interface TlsOptions {
  ca?: Buffer | string;
  cert?: Buffer | string;
  key?: Buffer | string;
  rejectUnauthorized?: boolean;
  servername?: string;
}

/** The API server, for those who open connections of their own (kube door, port-forward). */
export interface KubeServer {
  readonly url: URL;
  /** Files are read again on each call, so that rotated certificates are seen. */
  tls(): TlsOptions;
  /** The value of the Authorization header; undefined when a client certificate does the proving. */
  authorization(): Promise<string | undefined>;
  /** An agent that goes through the kubeconfig's proxy-url; undefined without one. */
  proxyAgent(): Promise<Agent | undefined>;
}

/** A bearer token, fixed or fetched for each request. */
export type TokenSource = string | (() => Promise<string>);

export interface ServerOptions {
  /** Path of a kubeconfig; default: KUBECONFIG, ~/.kube/config, then the pod's service account. */
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Used instead of the credentials of the kubeconfig. */
  readonly token?: TokenSource;
}

const environment = z.object({ KUBECONFIG: z.string().default('~/.kube/config') });

/** Finds the API server. @throws InvalidInput when there is no kubeconfig and no service account */
export function findServer(options: ServerOptions = {}): KubeServer & { readonly namespace: string | undefined } {
  const config = new KubeConfig();
  const where = options.kubeconfig ?? parseEnvironment(environment).KUBECONFIG;
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else config.loadFromDefault();
  } catch (error) {
    throw new InvalidInput(
      `kubeconfig ${where} cannot be read: ${reasonOf(error)}; check the file or --kubeconfig`,
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
      `kubeconfig ${where} describes no cluster for its current context; check its current-context, contexts and clusters, or say --context`,
    );
  }
  if (cluster === null || cluster.server === 'http://localhost:8080') {
    throw new InvalidInput('no Kubernetes cluster is configured; set KUBECONFIG or --kubeconfig, or --context');
  }
  const url = URL.parse(cluster.server);
  if (url === null) {
    throw new InvalidInput(
      `kubeconfig ${where}: the server of cluster ${cluster.name} is no URL; write one such as https://10.0.0.1:6443`,
    );
  }
  const user = config.getCurrentUser();

  // Exec plugins may answer with a client certificate instead of a token; it is kept from the last call.
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
      // client-node keeps exec credentials until they expire and token files for a minute; this saves file reads between.
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

/** What YAML's parser says of a place in a text; its message also quotes the lines around, and there stand tokens. */
const yamlProblem = z.object({ reason: z.string(), mark: z.object({ line: z.number() }).optional() });

/** Why a kubeconfig could not be taken, without anything that stands in it. */
function reasonOf(error: unknown): string {
  const yaml = yamlProblem.safeParse(error);
  if (yaml.success) {
    const { reason, mark } = yaml.data;
    const said = reason.replaceAll(/\s*(?:"[^"]*"|'[^']*'|!\S*)/g, '');
    return mark === undefined ? said : `${said}, line ${mark.line + 1}`;
  }
  // Of a part that has another shape than a kubeconfig's, the library only trips over it.
  return error instanceof TypeError ? 'it is no kubeconfig' : messageOf(error);
}
