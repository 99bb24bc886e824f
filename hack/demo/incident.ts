// The Incident of the demo: the one that a Monitor opens for the fault, or the example where nothing watches.

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Incident, incident } from '../../src/api/incident.ts';
import { isTrue } from '../../src/api/meta.ts';
import { OplabError } from '../../src/errors.ts';
import { output, run } from '../child.ts';
import { binDir, kubeconfigPath, root } from '../cluster/names.ts';

export const env = { KUBECONFIG: kubeconfigPath, PATH: `${binDir}:${process.env.PATH ?? ''}` };
/** What a person on call would write; applied where no Monitor opens an Incident. */
export const exampleFile = path.join(root, 'examples/incident.yaml');

/** How long a Monitor may take to open an Incident, and how long that one may wait for its agent, in milliseconds. */
const OPENED_WITHIN_MS = 120_000;
const STARTED_WITHIN_MS = 60_000;

const list = z.object({ items: z.array(incident) });

async function incidents(namespace: string, signal: AbortSignal): Promise<Incident[]> {
  const text = await output('kubectl', ['-n', namespace, 'get', 'incidents.oplab.dev', '-o', 'json'], { env, signal });
  return list.parse(JSON.parse(text)).items;
}

/** How many Monitors watch; none where the cluster does not know them. */
async function monitors(namespace: string, signal: AbortSignal): Promise<number> {
  const asked = await run('kubectl', ['-n', namespace, 'get', 'monitors.oplab.dev', '-o', 'name'], {
    ...{ env, signal },
    allowFailure: true,
  });
  return asked.code === 0 ? asked.stdout.split('\n').filter((line) => line !== '').length : 0;
}

/** Takes the example of an earlier run away, and tells which other Incidents are there already, by uid. */
export async function earlier(namespace: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const args = ['delete', '-f', exampleFile, '--ignore-not-found', '--timeout=60s'];
  await run('kubectl', args, { env, signal });
  return new Set((await incidents(namespace, signal)).map(({ metadata }) => metadata.uid));
}

/** Resolves when a Monitor has opened an Incident; never where none watches. */
export async function openedByMonitor(
  namespace: string,
  known: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  if ((await monitors(namespace, signal)) === 0) await sleep(2 ** 31 - 1, undefined, { signal });
  while ((await incidents(namespace, signal)).every(({ metadata }) => known.has(metadata.uid))) {
    await sleep(500, undefined, { signal });
  }
}

export interface Detected {
  readonly incident: Incident;
  /** The Monitor, or undefined when the example was applied. */
  readonly monitor: string | undefined;
}

/** Waits for a Monitor to open an Incident; applies the example where there is no Monitor. */
export async function detect(
  namespace: string,
  known: ReadonlySet<string>,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<Detected> {
  const watching = await monitors(namespace, signal);
  if (watching === 0) {
    note('no Monitor watches: a person applies examples/incident.yaml');
    await run('kubectl', ['apply', '-f', exampleFile], { env, signal });
  }
  const given = Date.now();
  for (;;) {
    const open = (await incidents(namespace, signal)).filter(({ metadata }) => !known.has(metadata.uid));
    // The queue lets one at a time at a patient: the one that an agent works on is the one to watch.
    const started = open.find(({ status }) => (status?.attempts?.length ?? 0) > 0);
    const [first] = open;
    if (started !== undefined) return { incident: started, monitor: started.spec.source?.name };
    if (first !== undefined) {
      note(`Incident ${first.metadata.name} is open, ${first.status?.message ?? 'an agent is on its way'}`);
      if (Date.now() - given > OPENED_WITHIN_MS + STARTED_WITHIN_MS) {
        return { incident: first, monitor: first.spec.source?.name };
      }
    } else {
      note(`${watching} Monitors look, none has opened an Incident yet`);
      if (Date.now() - given > OPENED_WITHIN_MS) {
        throw new OplabError(
          'OPLAB_DEMO_NOT_DETECTED',
          `none of ${watching} Monitors in ${namespace} opened an Incident within ${OPENED_WITHIN_MS / 1000} s; see: kubectl -n ${namespace} get monitors`,
        );
      }
    }
    await sleep(500, undefined, { signal });
  }
}

/** Waits for the end of an Incident; its message goes to `note`. */
export async function finished(of: Incident, signal: AbortSignal, note: (text: string) => void): Promise<Incident> {
  const { namespace = '', name } = of.metadata;
  for (;;) {
    const text = await output('kubectl', ['-n', namespace, 'get', 'incidents.oplab.dev', name, '-o', 'json'], {
      ...{ env, signal },
    });
    const seen = incident.parse(JSON.parse(text));
    note(seen.status?.message ?? seen.status?.phase ?? '');
    if (isTrue(seen.status?.conditions, 'Finished')) return seen;
    await sleep(1000, undefined, { signal });
  }
}
