// Requests to a Docker host over mutual TLS, and the facts that the docker door decides on.

import path from 'node:path';
import * as z from 'zod';
import { errorMessage, NotAllowed, OplabError, UpstreamUnavailable } from '../../../errors.ts';
import { readAnswer } from '../../../net/answer-body.ts';
import { keepFresh, readCertificates } from '../../../net/certificate-files.ts';
import { createAgent, type OutgoingRequest, openRequest, type TimeLimits } from '../../../net/request.ts';
import type { ForwardedRequest } from '../door.ts';
import {
  type ContainerFacts,
  containerFacts,
  type DockerFacts,
  type EngineDefaults,
  engineDefaults,
  enters,
  execFacts,
  imageFacts,
  networkFacts,
  parseRepository,
  volumeFacts,
} from './facts.ts';
import { labels, PROJECT_LABEL, type Scope } from './scope.ts';

/** The configuration of one Docker host. */
export const dockerEndpoint = z.object({
  /** The name that AgentClasses use. */
  name: z.string().min(1).max(63),
  url: z
    .url({ protocol: /^(tcp|https)$/ })
    .refine((url) => new URL(url).hostname !== '', 'must be a URL such as tcp://10.0.0.5:2376')
    .transform((url) => new URL(url.replace(/^tcp:/, 'https:'))),
  /**
   * A folder with ca.crt, tls.crt and tls.key: the trusted CA and the gateway's client certificate.
   */
  tls: z.string().min(1),
});
export type DockerEndpoint = z.infer<typeof dockerEndpoint>;

/** How long to wait for an answer to the door's own request, in milliseconds. */
const FACT_MS = 15_000;
const MAX_FACT = 8 * 1024 * 1024;
/** Docker's default port for TLS. */
const DEFAULT_PORT = 2376;

export interface DockerHostOptions {
  readonly limits: TimeLimits;
  /** Use a separate connection that may be half-open. */
  readonly own?: boolean;
}

export interface DockerHost {
  readonly name: string;
  /** Opens a request. @throws UpstreamUnavailable when the certificates cannot be read */
  request(request: Omit<ForwardedRequest, 'body'>, options: DockerHostOptions): OutgoingRequest;
  /** The facts about this host in a scope. */
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
      throw new UpstreamUnavailable(
        `the certificates of Docker host ${endpoint.name} cannot be read: ${errorMessage(error)}`,
        error,
      );
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
   * Images seen in a scope, by its label, so that a removed container can be created again from its
   * image.
   */
  const seen = new Map<string, { ids: Set<string>; repositories: Set<string> }>();
  /** What each container shares with others, by its ID. It never changes. */
  const namespaces: Namespaces = new Map();
  return {
    name: endpoint.name,
    request,
    facts: (scope) => createFacts(request, endpoint.name, scope, { seen, namespaces }),
    close: () => agent.destroy(),
  };
}

type Namespaces = Map<string, Pick<ContainerFacts, 'shares'>>;

const listed = z.array(
  z
    .object({ Id: z.string(), Image: z.string().nullish(), ImageID: z.string().nullish(), Labels: labels })
    .transform(({ Id, Image, ImageID, Labels }) => ({
      container: Id,
      reference: Image ?? '',
      id: ImageID ?? '',
      labels: Labels,
    })),
);

function createFacts(
  request: DockerHost['request'],
  host: string,
  scope: Scope,
  { seen, namespaces }: { seen: Map<string, { ids: Set<string>; repositories: Set<string> }>; namespaces: Namespaces },
): DockerFacts {
  const ask = async <T>(way: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const answer = await get(request, host, way);
    if (answer === undefined) return undefined;
    const parsed = schema.safeParse(answer);
    if (!parsed.success)
      throw new UpstreamUnavailable(
        `Docker host ${host} answered ${way} with JSON of an unexpected form`,
        parsed.error,
      );
    return parsed.data;
  };
  let engine: Promise<EngineDefaults> | undefined;
  const askEngine = async () => {
    const found = await ask('/info', engineDefaults);
    if (found === undefined) throw new UpstreamUnavailable(`Docker host ${host} does not describe itself`);
    return found;
  };
  const container = async (ref: string) => {
    // Once for the facts of one request.
    engine ??= askEngine();
    return await ask(`/containers/${encodeURIComponent(ref)}/json`, containerFacts(await engine));
  };
  const list = async (filter: Record<string, string>) => {
    const filters = JSON.stringify(
      Object.fromEntries(Object.entries(filter).map(([name, value]) => [name, { [value]: true }])),
    );
    return (await ask(`/containers/json?all=1&filters=${encodeURIComponent(filters)}`, listed)) ?? [];
  };
  const ofScope = { label: `${scope.key}=${scope.value}` };
  return {
    container,
    async containersWith(volume) {
      const found = [];
      for (const { container: id } of await list({ volume })) found.push((await container(id)) ?? []);
      return found.flat().filter(({ volumes }) => volumes.some(({ name }) => name === volume));
    },
    async entering(entered) {
      const ids = (await ask('/containers/json?all=1', listed))?.map(({ container: id }) => id) ?? [];
      const existing = new Set(ids);
      for (const id of namespaces.keys()) if (!existing.has(id)) namespaces.delete(id);
      const found: ContainerFacts[] = [];
      for (const id of ids) {
        const known = namespaces.get(id);
        if (known !== undefined && !enters(known, entered)) continue;
        const facts = await container(id);
        if (facts === undefined) continue;
        namespaces.set(id, { shares: facts.shares });
        if (enters(facts, entered)) found.push(facts);
      }
      return found;
    },
    async projects() {
      return new Set((await list(ofScope)).flatMap((found) => found.labels[PROJECT_LABEL] ?? []));
    },
    exec: (id) => ask(`/exec/${encodeURIComponent(id)}/json`, execFacts),
    network: (ref) => ask(`/networks/${encodeURIComponent(ref)}`, networkFacts),
    volume: (name) => ask(`/volumes/${encodeURIComponent(name)}`, volumeFacts),
    image: (ref) => ask(`/images/${ref.split('/').map(encodeURIComponent).join('/')}/json`, imageFacts),
    async images() {
      const containers = await list(ofScope);
      const key = `${scope.key}=${scope.value}`;
      const known = seen.get(key) ?? { ids: new Set(), repositories: new Set() };
      seen.set(key, known);
      for (const { reference, id } of containers) {
        if (id !== '') known.ids.add(id);
        // A container of an image without a name shows the image's ID.
        if (reference !== '' && !/^(sha256:)?[0-9a-f]{12,64}$/.test(reference))
          known.repositories.add(parseRepository(reference));
      }
      return known;
    },
  };
}

/**
 * The door's own request. Returns undefined for 404 and for ambiguous names. @throws
 * UpstreamUnavailable
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
      throw new UpstreamUnavailable(`Docker host ${host} answered ${way} with status ${answer.statusCode}`);
    return JSON.parse(body);
  } catch (error) {
    if (error instanceof OplabError) throw error;
    throw new UpstreamUnavailable(`Docker host ${host} does not answer: ${errorMessage(error)}; try again`, error);
  }
}

/** The gateway's Docker hosts by name. */
export class DockerHosts {
  readonly #hosts: ReadonlyMap<string, DockerHost>;

  constructor(endpoints: readonly DockerEndpoint[]) {
    this.#hosts = new Map(endpoints.map((endpoint) => [endpoint.name, createDockerHost(endpoint)]));
  }

  /** @throws NotAllowed */
  get(name: string): DockerHost {
    const host = this.#hosts.get(name);
    if (host !== undefined) return host;
    throw new NotAllowed(`the gateway has no Docker host ${name}: add it to docker.endpoints in the chart's values`);
  }

  close(): void {
    for (const host of this.#hosts.values()) host.close();
  }
}
