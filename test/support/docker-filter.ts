// Requests through the docker door's filter, with a project of fake facts behind it.

import { expect } from 'vitest';
import { type DockerAccess, dockerAccess } from '../../src/api/docker-access.ts';
import { filterRequest } from '../../src/gateway/doors/docker/filter.ts';
import { readRequest } from '../../src/gateway/doors/docker/route.ts';
import { fakeFacts } from './fake-docker-facts.ts';

/** What the class grants, and what is on the host. */
export interface FilterOptions extends Partial<DockerAccess> {
  mode?: 'Repair' | 'Diagnose';
  facts?: ReturnType<typeof fakeFacts>;
}

/** What the filter makes of a request. */
export async function through(
  method: string,
  url: string,
  body: unknown = '',
  { mode = 'Repair', facts = fakeFacts(), ...access }: FilterOptions = {},
) {
  const raw = typeof body === 'string' ? body : JSON.stringify(body);
  const limited = access.label === undefined ? { composeProject: 'shop' } : {};
  const passing = await filterRequest(readRequest(method, url), Buffer.from(raw), {
    access: dockerAccess.parse({ endpoint: 'local', ...limited, ...access }),
    mode,
    facts,
  });
  return { ...passing, json: passing.contentType?.includes('json') ? JSON.parse(passing.body?.toString() ?? '') : {} };
}

/** Matches an error with this code. */
export const refusal = (code: string) => expect.objectContaining({ code: `OPLAB_${code}` });
/** Creates a container with these settings. */
export const create = (spec: object, options?: FilterOptions) =>
  through('POST', '/v1.41/containers/create?name=new', { Image: 'pingcap/tikv:v8.5.3', ...spec }, options);
/** Creates a container with these settings of its host. */
export const createOn = (host: object, options?: FilterOptions) =>
  create({ HostConfig: { NetworkMode: 'none', ...host } }, options);
