// The Incident of the demo: opened by a Monitor, or applied from the example if there is none.

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../hack/child.ts';
import { binDir, kubeconfigPath, root } from '../../hack/cluster/names.ts';
import type { Incident } from '../../src/api/incident.ts';
import { isTrue } from '../../src/api/meta.ts';
import { OplabError } from '../../src/errors.ts';
import type { Incidents } from '../trials/incidents.ts';

export const env = { KUBECONFIG: kubeconfigPath, PATH: `${binDir}:${process.env.PATH ?? ''}` };
/** What a person on call would write. It is applied if there is no Monitor. */
const exampleFile = path.join(root, 'examples/incident.yaml');

/** How long Monitors may take to clear their alarms before the fault. */
const QUIET_WITHIN_MS = 60_000;
/**
 * How long a Monitor may take to open an Incident, and how long that one may wait for its agent.
 */
const OPENED_WITHIN_MS = 120_000;
const STARTED_WITHIN_MS = 60_000;

const isOver = ({ status }: Incident) => isTrue(status?.conditions, 'Finished');

/** The state before the fault. */
export interface Before {
  /** Incidents by uid. */
  readonly known: ReadonlySet<string>;
  readonly watching: number;
  /** Monitors that already have an alarm, for example for latency; suspended during the demo. */
  readonly aside: readonly string[];
}

/** Removes open Incidents, which would be queued before the one that is shown. */
export async function clearStage(
  incidents: Incidents,
  namespace: string,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<Before> {
  const watching = await incidents.monitors();
  let loud = watching.length === 0 ? [] : await incidents.unhealthyMonitors();
  for (const started = Date.now(); loud.length > 0 && Date.now() - started < QUIET_WITHIN_MS; ) {
    note(`waiting for Monitors to clear their alarms: ${loud.join(', ')}`);
    await sleep(2000, undefined, { signal });
    loud = await incidents.unhealthyMonitors();
  }
  await incidents.watch(loud, false);
  const remove = ['-n', namespace, 'delete', '--ignore-not-found', '--timeout=60s'];
  await run('kubectl', [...remove, '-f', exampleFile], { env, signal });
  const open = (await incidents.all()).filter((incident) => !isOver(incident)).map(({ metadata }) => metadata.name);
  if (open.length > 0) await run('kubectl', [...remove, 'incident', ...open], { env, signal });
  const known = new Set((await incidents.all()).map(({ metadata }) => metadata.uid));
  return { known, watching: watching.length - loud.length, aside: loud };
}

async function opened(incidents: Incidents, { known }: Before): Promise<Incident[]> {
  return (await incidents.all()).filter(({ metadata }) => !known.has(metadata.uid));
}

/** Resolves when a Monitor has opened an Incident; never if no Monitor watches. */
export async function openedByMonitor(incidents: Incidents, before: Before, signal: AbortSignal): Promise<void> {
  while (before.watching === 0 || (await opened(incidents, before)).length === 0) {
    await sleep(500, undefined, { signal });
  }
}

/** Waits for a Monitor to open an Incident; applies the example if there is no Monitor. */
export async function detect(
  incidents: Incidents,
  before: Before,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<Incident> {
  if (before.watching === 0) {
    note('no Monitor watches: applying examples/incident.yaml');
    await run('kubectl', ['apply', '-f', exampleFile], { env, signal });
  }
  const started = Date.now();
  for (;;) {
    const open = await opened(incidents, before);
    // Agents work on one Incident at a time: that is the one to watch.
    const worked = open.find(({ status }) => (status?.attempts?.length ?? 0) > 0);
    if (worked !== undefined) return worked;
    const [first] = open;
    const waited = Date.now() - started;
    if (first !== undefined) {
      note(`Incident ${first.metadata.name} is open, ${first.status?.message ?? 'its agent is starting'}`);
      if (waited > OPENED_WITHIN_MS + STARTED_WITHIN_MS) return first;
    } else {
      note(`${before.watching} Monitors watch; none has opened an Incident yet`);
      if (waited > OPENED_WITHIN_MS) {
        throw new OplabError(
          'OPLAB_DEMO_NOT_DETECTED',
          `none of ${before.watching} Monitors opened an Incident within ${OPENED_WITHIN_MS / 1000} s; check them with: kubectl get monitors -A`,
        );
      }
    }
    await sleep(500, undefined, { signal });
  }
}

/** Waits for the end of an Incident, and passes its message to `note`. */
export async function finished(
  incidents: Incidents,
  name: string,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<Incident> {
  for (;;) {
    const seen = await incidents.read(name);
    note(seen.status?.message ?? seen.status?.phase ?? '');
    if (isOver(seen)) return seen;
    await sleep(1000, undefined, { signal });
  }
}
