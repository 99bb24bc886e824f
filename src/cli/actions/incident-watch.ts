// The command `oplab incident watch`.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { CONDITIONS, type Incident, sessionId } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { withoutControls } from '../../audit/controls.ts';
import { errorMessage, NotFound } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { cost } from '../format.ts';
import type { Incidents } from '../incidents.ts';
import type { Output } from '../output.ts';
import type { AuditReader } from '../reader/audit-reader.ts';
import { LiveView } from '../render/live-view.ts';
import { parseName } from '../resolve-session.ts';

/** How often the Incident is read, in milliseconds. */
const POLL_MS = 1000;
/** How long to wait for the rest of the trail once the Incident is Finished, in milliseconds. */
const REST_MS = 5000;

/** Follows an Incident to its end; the exit code reports whether it succeeded. @throws NotFound */
export async function watchIncident(environment: Environment, command: Command, text: string): Promise<void> {
  const given = parseFlags(command, connectionFlags);
  const { namespace = environment.namespace(given), name } = parseName(text, given.namespace);
  const incidents = environment.incidents(given);
  const reader = await environment.gateway(given);
  try {
    const { incident } = await incidents.get(namespace, name);
    const end = await watch(environment.output, incidents, reader, incident);
    if (!isTrue(end?.status?.conditions, CONDITIONS.Succeeded)) process.exitCode = 1;
  } finally {
    await reader.close();
  }
}

/**
 * Prints the session until the Incident is finished. Returns the Incident, or undefined if it was
 * deleted.
 */
export async function watch(
  output: Output,
  incidents: Incidents,
  reader: AuditReader,
  first: Incident,
): Promise<Incident | undefined> {
  const { namespace = '', name } = first.metadata;
  output.line(output.colors.bold(`Incident ${namespace}/${name}: ${withoutControls(first.spec.summary)}`));
  const view = new LiveView(output);
  const following = new AbortController();
  const follow = (async () => {
    for await (const event of reader.follow(sessionId(first), { signal: following.signal })) view.show(event);
  })();
  // untilFinished() handles a failure; this prevents an unhandled rejection until then.
  follow.catch(() => undefined);
  try {
    const end = await untilFinished(output, view, incidents, first, follow);
    await Promise.race([follow, sleep(REST_MS, undefined, { ref: false })]);
    view.flush();
    output.line();
    output.line(end === undefined ? `Incident ${namespace}/${name} was deleted.` : lastLine(end, output));
    return end;
  } finally {
    following.abort();
    await follow.catch(() => undefined);
  }
}

async function untilFinished(
  output: Output,
  view: LiveView,
  incidents: Incidents,
  first: Incident,
  follow: Promise<void>,
): Promise<Incident | undefined> {
  const { namespace = '', name } = first.metadata;
  let incident = first;
  let reported = '';
  let trouble = '';
  let broken: unknown;
  follow.catch((error: unknown) => {
    broken = error;
  });
  for (;;) {
    const state = `${incident.status?.phase ?? 'Pending'}${incident.status?.message ? `: ${incident.status.message}` : ''}`;
    if (state !== reported) view.remark(state);
    reported = state;
    if (isTrue(incident.status?.conditions, CONDITIONS.Finished)) return incident;
    // The trail cannot be read, so there is nothing to watch.
    if (broken !== undefined) throw broken;
    await sleep(POLL_MS);
    try {
      const { incident: next } = await incidents.get(namespace, name);
      // The watched Incident was deleted, and another one was created with the same name.
      if (sessionId(next) !== sessionId(first)) return undefined;
      incident = next;
      trouble = '';
    } catch (error) {
      if (error instanceof NotFound) return undefined;
      const message = errorMessage(error);
      if (message !== trouble) output.note(`waiting: ${message}`);
      trouble = message;
    }
  }
}

function lastLine({ metadata, status }: Incident, { colors }: Output): string {
  const succeeded = isTrue(status?.conditions, CONDITIONS.Succeeded);
  const reason = findCondition(status?.conditions, CONDITIONS.Finished)?.reason ?? status?.phase ?? 'Finished';
  const message = status?.message ? `: ${withoutControls(status.message)}` : '';
  const { usage, claim } = status ?? {};
  const facts = [
    ...(claim === undefined ? [] : [`claimed ${claim.outcome}`]),
    isTrue(status?.conditions, CONDITIONS.Verified) ? 'verified' : 'not verified',
    ...(usage === undefined ? [] : [`${usage.turns} turns`, cost(usage.costMilliUSD)]),
  ];
  const mark = succeeded ? colors.green('✓') : colors.red('✗');
  return `${mark} ${metadata.namespace ?? ''}/${metadata.name} ${reason}${message} (${facts.join(', ')})`;
}
