// Incidents and Monitors on the cluster, used through kubectl and the oplab command line.
import path from 'node:path';
import * as z from 'zod';
import { type ChildResult, run } from '../../hack/child.ts';
import { root } from '../../hack/cluster/names.ts';
import { type Incident, incident } from '../../src/api/incident.ts';
import { monitor } from '../../src/api/monitor.ts';
import { type Entry, entry } from '../../src/audit/entry.ts';
import type { TrialContext } from './trial.ts';

const cli = path.join(root, 'dist/main.mjs');
const list = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item) });

/** One namespace of a cluster. */
export class Incidents {
  readonly #context: TrialContext;
  readonly #namespace: string;

  constructor(context: TrialContext, namespace: string) {
    this.#context = context;
    this.#namespace = namespace;
  }

  async #kubectl(args: readonly string[], input?: string): Promise<string> {
    const { kubeconfig, signal } = this.#context;
    const done = await run('kubectl', ['-n', this.#namespace, ...args], {
      env: { KUBECONFIG: kubeconfig },
      signal,
      ...(input === undefined ? {} : { input }),
    });
    return done.stdout;
  }

  async read(name: string): Promise<Incident> {
    return incident.parse(JSON.parse(await this.#kubectl(['get', 'incident', name, '-o', 'json'])));
  }

  async all(): Promise<Incident[]> {
    return list(incident).parse(JSON.parse(await this.#kubectl(['get', 'incidents', '-o', 'json']))).items;
  }

  /** Names of the Monitors in this namespace; none if the CRD is not installed. */
  async monitors(): Promise<string[]> {
    const { kubeconfig, signal } = this.#context;
    const asked = await run('kubectl', ['-n', this.#namespace, 'get', 'monitors.oplab.dev', '-o', 'json'], {
      env: { KUBECONFIG: kubeconfig },
      signal,
      allowFailure: true,
    });
    if (asked.code !== 0) return [];
    return list(monitor)
      .parse(JSON.parse(asked.stdout))
      .items.map(({ metadata }) => metadata.name);
  }

  /** Names of the Monitors that are not Healthy. */
  async unhealthyMonitors(): Promise<string[]> {
    return list(monitor)
      .parse(JSON.parse(await this.#kubectl(['get', 'monitors.oplab.dev', '-o', 'json'])))
      .items.filter(({ status }) => status?.state !== 'Healthy')
      .map(({ metadata }) => metadata.name);
  }

  async #patchMonitors(monitors: readonly string[], spec: object): Promise<void> {
    const patch = JSON.stringify({ spec });
    for (const name of monitors) await this.#kubectl(['patch', 'monitor', name, '--type=merge', `--patch=${patch}`]);
  }

  /** Whether Incidents that the Monitors open from now on wait until they are released. */
  hold(monitors: readonly string[], held: boolean): Promise<void> {
    return this.#patchMonitors(monitors, { incident: { suspend: held } });
  }

  /** Resumes or suspends Monitors. */
  watch(monitors: readonly string[], watching: boolean): Promise<void> {
    return this.#patchMonitors(monitors, { suspend: !watching });
  }

  /** Applies an Incident that is on hold. */
  async open(name: string, spec: object): Promise<void> {
    const manifest = {
      apiVersion: 'oplab.dev/v1alpha1',
      kind: 'Incident',
      metadata: { name },
      spec: { ...spec, suspend: true },
    };
    await this.#kubectl(['apply', '-f', '-'], JSON.stringify(manifest));
  }

  async release(name: string): Promise<void> {
    await this.#kubectl(['patch', 'incident', name, '--type=merge', '--patch={"spec":{"suspend":false}}']);
  }

  async clear(): Promise<void> {
    await this.#kubectl(['delete', 'incidents', '--all', '--timeout=90s']);
  }

  #oplab(args: readonly string[]): Promise<ChildResult> {
    const { kubeconfig, signal } = this.#context;
    return run(process.execPath, [cli, ...args, '-n', this.#namespace], {
      env: { KUBECONFIG: kubeconfig },
      signal,
      allowFailure: true,
      timeoutMs: 120_000,
    });
  }

  /** The complete trail, from the log. */
  async trail(name: string): Promise<Entry[]> {
    const shown = await this.#oplab(['audit', 'show', name, '-o', 'json']);
    if (shown.code !== 0) throw new Error(`oplab audit show ${name} failed (${shown.code}): ${shown.stderr}`);
    return list(entry).parse(JSON.parse(shown.stdout)).items;
  }

  async chainValid(name: string): Promise<boolean> {
    return (await this.#oplab(['audit', 'verify', name])).code === 0;
  }
}
