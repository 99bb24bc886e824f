// The file that tells the gateway which Docker hosts there are.

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { InvalidInput, messageOf } from '../../../errors.ts';
import { type DockerEndpoint, dockerEndpoint } from './docker-host.ts';

const endpointFile = z.object({ endpoints: z.array(dockerEndpoint).max(64) });

/** Reads it; without a file there is no Docker host. @throws InvalidInput */
export async function loadDockerEndpoints(file: string | undefined): Promise<readonly DockerEndpoint[]> {
  if (file === undefined) return [];
  let content: unknown;
  try {
    content = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new InvalidInput(`the Docker endpoints ${file} cannot be read: ${messageOf(error)}`, error);
  }
  const parsed = endpointFile.safeParse(content ?? { endpoints: [] });
  if (!parsed.success) throw new InvalidInput(`${file}: ${z.prettifyError(parsed.error)}`, parsed.error);
  const { endpoints } = parsed.data;
  const twice = endpoints.find(({ name }, index) => endpoints.findIndex((other) => other.name === name) !== index);
  if (twice !== undefined) throw new InvalidInput(`${file}: the Docker host ${twice.name} stands twice`);
  return endpoints;
}
