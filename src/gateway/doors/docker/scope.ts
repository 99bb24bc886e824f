// The part of a Docker host that a class opens: one label, which a Compose project is, too. Pure.

import { z } from 'zod';
import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput } from '../../../errors.ts';

/** Compose puts this on everything it makes. */
export const PROJECT_LABEL = 'com.docker.compose.project';

/** What belongs to the agent: everything that carries this label with this value. */
export interface Scope {
  readonly key: string;
  readonly value: string;
  /** For people. */
  readonly text: string;
}

export function scopeOf(access: Pick<DockerAccess, 'composeProject' | 'label'>): Scope {
  const { composeProject, label } = access;
  if (composeProject !== undefined && label === undefined) {
    return { key: PROJECT_LABEL, value: composeProject, text: `Compose project ${composeProject}` };
  }
  const mark = label?.indexOf('=') ?? -1;
  if (composeProject !== undefined || label === undefined || mark < 1 || mark === label.length - 1) {
    // The schema of AgentClass says so already; nothing is opened on the strength of that alone.
    throw new InvalidInput('the docker access names neither a Compose project nor a label key=value');
  }
  return { key: label.slice(0, mark), value: label.slice(mark + 1), text: `label ${label}` };
}

/** Labels as the Docker API shows them; null stands for none. */
export const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((found): Readonly<Record<string, string>> => found ?? {});

export function owns(scope: Scope, found: Readonly<Record<string, string>>): boolean {
  return Object.hasOwn(found, scope.key) && found[scope.key] === scope.value;
}

/** Labels with the scope's own; another value for it is refused. @throws InvalidInput */
export function withScope(scope: Scope, wanted: Readonly<Record<string, string>>): Record<string, string> {
  if (Object.hasOwn(wanted, scope.key) && wanted[scope.key] !== scope.value) {
    throw new InvalidInput(`the label ${scope.key} must be ${scope.value}: this access is limited to it`);
  }
  return { ...wanted, [scope.key]: scope.value };
}

/** As clients write filters: {"name": ["a"]} or, since long ago, {"name": {"a": true}}. */
const filters = z.record(
  z.string().regex(/^[a-z][a-z!-]{0,31}$/),
  z.union([z.array(z.string()), z.record(z.string(), z.boolean()).transform((values) => Object.keys(values))]),
);

/** The caller's filters, with the scope's label among them: labels are combined by "and". @throws InvalidInput */
export function scopedFilters(scope: Scope, text: string | undefined): string {
  let parsed: unknown = {};
  if (text !== undefined && text !== '') {
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw new InvalidInput('filters are not JSON', error);
    }
  }
  const wanted = filters.safeParse(parsed ?? {});
  if (!wanted.success) throw new InvalidInput(`filters do not fit: ${z.prettifyError(wanted.error)}`, wanted.error);
  const written = Object.entries(wanted.data).map(([name, values]) => [name, marked(values)]);
  const label = [...(wanted.data.label ?? []), `${scope.key}=${scope.value}`];
  return JSON.stringify({ ...Object.fromEntries(written), label: marked(label) });
}

function marked(values: readonly string[]): Record<string, true> {
  return Object.fromEntries(values.map((value) => [value, true]));
}
