// The way to a Docker host for the docker door: TCP with TLS in both directions, and the facts that
// decisions depend on.

import path from 'node:path';
import { z } from 'zod';
import { messageOf, NotAllowed, OplabError, UpstreamUnavailable } from '../../../errors.ts';
import { readAnswer } from '../../../net/answer-body.ts';
import { keepFresh, readCertificates } from '../../../net/certificate-files.ts';
import { createAgent, type OutgoingRequest, openRequest, type TimeLimits } from '../../../net/request.ts';
import type { ForwardedRequest } from '../door.ts';
import {
  containerFacts,
  type DockerFacts,
  execFacts,
  imageFacts,
  networkFacts,
  repositoryOf,
  volumeFacts,
} from './facts.ts';
import type { Scope } from './scope.ts';

/** One Docker host, as the gateway is told of it. */
export const dockerEndpoint = z.object({
  /** What AgentClasses call it. */
  name: z.string().min(1).max(63),
  url: z
    .url({ protocol: /^(tcp|https)$/ })
    .refine((url) => new URL(url).hostname !== '', 'tcp://host:port')
    .transform((url) => new URL(url.replace(/^tcp:/, 'https:'))),
  /** A folder with ca.crt, tls.crt and tls.key: whom to trust, and who the gateway is. */
  tls: z.string().min(1),
});
export type DockerEndpoint = z.infer<typeof dockerEndpoint>;

/** For a question of the door's own, in milliseconds. */
const FACT_MS = 15_000;
const MAX_FACT = 8 * 1024 * 1024;
/** Docker's own port with TLS. */
const DEFAULT_PORT = 2376;

export interface DockerHostOptions {
  readonly limits: TimeLimits;
  /** A connection of its own, which may be closed in one direction. */
  readonly own?: boolean;
}

export interface DockerHost {
  readonly name: string;
  /** Opens a request. @throws UpstreamUnavailable when the certificates cannot be read */
  request(request: Omit<ForwardedRequest, 'body'>, options: DockerHostOptions): OutgoingRequest;
  /** The facts about this host, within a scope. */
  facts(scope: Scope): DockerFacts;
  close(): void;
}

export function createDockerHost(endpoint: DockerEndpoint): DockerHost {
  const url = new URL(endpoint.url);
  if (url.port === '') url.port = String(DEFAULT_PORT);
  const agent = createAgent(url);
  const certificates = keepFresh(() =>
    readCertificates({
      caFile: path.join(endpoint.tls, 'ca.crt'),
      certFile: path.join(endpoint.tls, 'tls.crt'),
      keyFile: path.join(endpoint.tls, 'tls.key'),
    }),
  );
  const request: DockerHost['request'] = ({ method, path: way, headers }, { limits, own = false }) => {
    let tls: ReturnType<typeof certificates>;
    try {
      tls = certificates();
    } catch (error) {
      throw new UpstreamUnavailable(`Docker host ${endpoint.name} cannot be asked: ${messageOf(error)}`, error);
    }
    return openRequest({
      url,
      method,
      path: way,
      headers: { ...headers, host: 'docker' },
      tls,
      limits,
      ...(own ? { allowHalfOpen: true } : { agent }),
    });
  };
  /**
   * Images seen in a scope, by its label: a container that was removed can be made again from the
   * same image.
   */
  const seen = new Map<string, { ids: Set<string>; repositories: Set<string> }>();
  return {
    name: endpoint.name,
    request,
    facts: (scope) => factsOf(request, endpoint.name, scope, seen),
    close: () => agent.destroy(),
  };
}

const listed = z.array(
  z.object({ Image: z.string().nullish(), ImageID: z.string().nullish() }).transform(({ Image, ImageID }) => ({
    reference: Image ?? '',
    id: ImageID ?? '',
  })),
);

function factsOf(
  request: DockerHost['request'],
  host: string,
  scope: Scope,
  seen: Map<string, { ids: Set<string>; repositories: Set<string> }>,
): DockerFacts {
  const ask = async <T>(way: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const answer = await get(request, host, way);
    if (answer === undefined) return undefined;
    const parsed = schema.safeParse(answer);
    if (!parsed.success)
      throw new UpstreamUnavailable(`Docker host ${host} answers ${way} in a way that is not known`, parsed.error);
    return parsed.data;
  };
  return {
    container: (ref) => ask(`/containers/${encodeURIComponent(ref)}/json`, containerFacts),
    exec: (id) => ask(`/exec/${encodeURIComponent(id)}/json`, execFacts),
    network: (ref) => ask(`/networks/${encodeURIComponent(ref)}`, networkFacts),
    volume: (name) => ask(`/volumes/${encodeURIComponent(name)}`, volumeFacts),
    image: (ref) => ask(`/images/${ref.split('/').map(encodeURIComponent).join('/')}/json`, imageFacts),
    async images() {
      const filters = JSON.stringify({ label: { [`${scope.key}=${scope.value}`]: true } });
      const containers = await ask(`/containers/json?all=1&filters=${encodeURIComponent(filters)}`, listed);
      const key = `${scope.key}=${scope.value}`;
      const known = seen.get(key) ?? { ids: new Set(), repositories: new Set() };
      seen.set(key, known);
      for (const { reference, id } of containers ?? []) {
        if (id !== '') known.ids.add(id);
        // A container of an image without a name shows its id.
        if (reference !== '' && !/^(sha256:)?[0-9a-f]{12,64}$/.test(reference))
          known.repositories.add(repositoryOf(reference));
      }
      return known;
    },
  };
}

/**
 * A question of the door's own; undefined for 404 and for words that fit several things.
 * @throws UpstreamUnavailable
 */
async function get(request: DockerHost['request'], host: string, way: string): Promise<unknown> {
  try {
    const limits = { head: FACT_MS, whole: FACT_MS };
    const outgoing = request({ method: 'GET', path: way, headers: { accept: 'application/json' } }, { limits });
    outgoing.body.end();
    const answer = await outgoing.receiveResponse();
    const body = (await readAnswer(answer, MAX_FACT)).toString('utf8');
    if (answer.statusCode === 404 || answer.statusCode === 400) return undefined;
    if (answer.statusCode !== 200)
      throw new UpstreamUnavailable(`Docker host ${host} answers ${answer.statusCode} to ${way}`);
    return JSON.parse(body);
  } catch (error) {
    if (error instanceof OplabError) throw error;
    throw new UpstreamUnavailable(`Docker host ${host} does not answer: ${messageOf(error)}; try again`, error);
  }
}

/** The Docker hosts that the gateway knows, by name. */
export class DockerHosts {
  readonly #hosts: ReadonlyMap<string, DockerHost>;

  constructor(endpoints: readonly DockerEndpoint[]) {
    this.#hosts = new Map(endpoints.map((endpoint) => [endpoint.name, createDockerHost(endpoint)]));
  }

  /** @throws NotAllowed */
  get(name: string): DockerHost {
    const host = this.#hosts.get(name);
    if (host !== undefined) return host;
    throw new NotAllowed(`the gateway knows no Docker host ${name}: add it to docker.endpoints of the chart`);
  }

  close(): void {
    for (const host of this.#hosts.values()) host.close();
  }
}
