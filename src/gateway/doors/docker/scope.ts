// The part of a Docker host that a class can access: the objects with one label.

import * as z from 'zod';
import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput } from '../../../errors.ts';
import { parseInput } from '../../../input/parse-input.ts';

/** The label that Compose puts on everything it creates. */
export const PROJECT_LABEL = 'com.docker.compose.project';

/** The objects that belong to the agent: those that have this label with this value. */
export interface Scope {
  readonly key: string;
  readonly value: string;
  /** Description for messages. */
  readonly text: string;
}

export function parseScope(access: Pick<DockerAccess, 'composeProject' | 'label'>): Scope {
  const { composeProject, label } = access;
  if (composeProject !== undefined && label === undefined) {
    return { key: PROJECT_LABEL, value: composeProject, text: `Compose project ${composeProject}` };
  }
  const mark = label?.indexOf('=') ?? -1;
  if (composeProject !== undefined || label === undefined || mark < 1 || mark === label.length - 1) {
    // The schema of AgentClass ensures this, but the door does not rely on that alone.
    throw new InvalidInput('the docker access must have either composeProject or a label in the form key=value');
  }
  return { key: label.slice(0, mark), value: label.slice(mark + 1), text: `label ${label}` };
}

/** Labels as returned by the Docker API. Null means none. */
export const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((found): Readonly<Record<string, string>> => found ?? {});

export function owns(scope: Scope, found: Readonly<Record<string, string>>): boolean {
  return Object.hasOwn(found, scope.key) && found[scope.key] === scope.value;
}

/** Adds the scope's label. Refuses another value for it. @throws InvalidInput */
export function withScope(scope: Scope, wanted: Readonly<Record<string, string>>): Record<string, string> {
  if (Object.hasOwn(wanted, scope.key) && wanted[scope.key] !== scope.value) {
    throw new InvalidInput(`label ${scope.key} must be ${scope.value}, because access is limited to ${scope.text}`);
  }
  return { ...wanted, [scope.key]: scope.value };
}

/** Filters in both forms that clients send: {"name": ["a"]} and {"name": {"a": true}}. */
const filters = z.record(
  z.string().regex(/^[a-z][a-z!-]{0,31}$/),
  z.union([z.array(z.string()), z.record(z.string(), z.boolean()).transform((values) => Object.keys(values))]),
);

/** Filters whose answer says whether another object of the host exists, and which is older. */
const TELLING = ['before', 'since'];

/**
 * Adds the scope's label to the caller's filters. Labels are combined with "and". @throws
 * InvalidInput
 */
export function scopedFilters(scope: Scope, text: string | undefined): string {
  const wanted = parseFilters(text);
  return writeFilters({ ...wanted, label: [...(wanted.label ?? []), `${scope.key}=${scope.value}`] });
}

/** The caller's filters as the daemon and the door read them alike. @throws InvalidInput */
export function rewrittenFilters(text: string): string {
  return writeFilters(parseFilters(text));
}

function parseFilters(text: string | undefined): Readonly<Record<string, readonly string[]>> {
  let parsed: unknown = {};
  if (text !== undefined && text !== '') {
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      throw new InvalidInput('the parameter filters is not valid JSON', error);
    }
  }
  const wanted = parseInput(filters, parsed ?? {}, 'the parameter filters is not valid', { values: 'shown' });
  const telling = TELLING.find((name) => Object.hasOwn(wanted, name));
  if (telling !== undefined)
    throw new InvalidInput(`the filter ${telling} is not allowed: leave it out, and compare the times of the answer`);
  return wanted;
}

function writeFilters(wanted: Readonly<Record<string, readonly string[]>>): string {
  const marked = (values: readonly string[]) => Object.fromEntries(values.map((value) => [value, true]));
  return JSON.stringify(Object.fromEntries(Object.entries(wanted).map(([name, values]) => [name, marked(values)])));
}
