// The file that lists the Docker hosts of the gateway.

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import * as z from 'zod';
import { errorMessage, InvalidInput } from '../../../errors.ts';
import { parseInput } from '../../../input/parse-input.ts';
import { type DockerEndpoint, dockerEndpoint } from './docker-host.ts';

const endpointFile = z.object({ endpoints: z.array(dockerEndpoint).max(64) });

/** Reads the file. Without a file, there are no Docker hosts. @throws InvalidInput */
export async function loadDockerEndpoints(file: string | undefined): Promise<readonly DockerEndpoint[]> {
  if (file === undefined) return [];
  let content: unknown;
  try {
    content = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new InvalidInput(`the Docker endpoints file ${file} cannot be read: ${errorMessage(error)}`, error);
  }
  const { endpoints } = parseInput(endpointFile, content ?? { endpoints: [] }, file, { values: 'shown' });
  const duplicate = endpoints.find(({ name }, index) => endpoints.findIndex((other) => other.name === name) !== index);
  if (duplicate !== undefined) throw new InvalidInput(`${file}: Docker host ${duplicate.name} is listed twice`);
  return endpoints;
}
