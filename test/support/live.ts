// The live cluster as end-to-end tests see it: through kubectl and the oplab CLI, as a user would.

import path from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';
import { type ChildOptions, type ChildResult, run } from '../../hack/child.ts';
import { binDir, kubeconfigPath } from '../../hack/cluster/names.ts';
import { type Incident, incident } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import { type Entry, entry } from '../../src/audit/entry.ts';
import { eventually } from './eventually.ts';

const root = path.dirname(path.dirname(import.meta.dirname));

export const KUBECONFIG = kubeconfigPath;

const env = { KUBECONFIG, PATH: `${binDir}:${process.env.PATH ?? ''}`, NO_COLOR: '1' };

export const child = (command: string, args: readonly string[], options: ChildOptions = {}): Promise<ChildResult> =>
  run(command, args, { timeoutMs: 120_000, ...options, env: { ...env, ...options.env } });

/** kubectl's trimmed standard output. */
export async function kubectl(...args: string[]): Promise<string> {
  return (await child('kubectl', args)).stdout.trim();
}

/** kubectl that may fail. */
export const tryKubectl = (...args: string[]) => child('kubectl', args, { allowFailure: true });

/** The CLI from dist/, in the form in which it is installed. */
export const oplab = (...args: string[]): Promise<ChildResult> =>
  child('node', [path.join(root, 'dist/main.mjs'), ...args], { allowFailure: true });

export const apply = (manifest: object | string) =>
  child('kubectl', ['apply', '-f', '-'], { input: typeof manifest === 'string' ? manifest : JSON.stringify(manifest) });

export async function readIncident(namespace: string, name: string): Promise<Incident> {
  return incident.parse(JSON.parse(await kubectl('-n', namespace, 'get', 'incident', name, '-o', 'json')));
}

/** Waits for condition Finished. */
export const finished = (namespace: string, name: string, seconds: number): Promise<Incident> =>
  eventually(
    async () => {
      const seen = await readIncident(namespace, name);
      return findCondition(seen.status?.conditions, 'Finished')?.status === 'True' ? seen : undefined;
    },
    { what: `Incident ${namespace}/${name} to finish`, withinMs: seconds * 1000, everyMs: 500 },
  );

const entries = z.object({ items: z.array(entry) });

/** The whole trail of an Incident, read from the log. */
export async function trail(namespace: string, name: string): Promise<Entry[]> {
  const shown = await oplab('audit', 'show', name, '-n', namespace, '-o', 'json');
  if (shown.code !== 0) throw new Error(`oplab audit show failed (${shown.code}): ${shown.stderr}`);
  return entries.parse(JSON.parse(shown.stdout)).items;
}

/** One of the manifests under examples/. */
export async function example(name: string): Promise<Record<string, unknown>> {
  const { readFile } = await import('node:fs/promises');
  return z.record(z.string(), z.unknown()).parse(parse(await readFile(path.join(root, 'examples', name), 'utf8')));
}
