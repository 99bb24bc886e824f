// Parses checks from command-line flags: NAME=WHERE, a space, and a CEL or PromQL expression.

import type { Check } from '../api/check.ts';
import { InvalidInput } from '../errors.ts';

export const HTTP_FORM = 'NAME=[https://]SERVICE[.NAMESPACE]:PORT[/PATH] CEL';
export const OBJECT_FORM = 'NAME=APIVERSION/KIND/[NAMESPACE/]OBJECT CEL';
export const PROMETHEUS_FORM = 'NAME=[https://]SERVICE[.NAMESPACE][:PORT] PROMQL';

type CheckInput = Pick<Check, 'name'> & Record<string, unknown>;

const HTTP =
  /^(?<name>[^=\s]+)=(?:(?<scheme>https?):\/\/)?(?<service>[^.:/\s]+)(?:\.(?<namespace>[^.:/\s]+))?:(?<port>\d+)(?<path>\/\S*)?\s+(?<cel>\S.*)$/s;
const PROMETHEUS =
  /^(?<name>[^=\s]+)=(?:(?<scheme>https?):\/\/)?(?<service>[^.:/\s]+)(?:\.(?<namespace>[^.:/\s]+))?(?::(?<port>\d+))?\s+(?<query>\S.*)$/s;
const OBJECT =
  /^(?<name>[^=\s]+)=(?<apiVersion>(?:[^/\s]+\/)?v\d[a-z0-9]*)\/(?<kind>[A-Z]\w*)\/(?:(?<namespace>[^/\s]+)\/)?(?<object>[^/\s]+)\s+(?<cel>\S.*)$/s;

function groups(pattern: RegExp, text: string, flag: string, form: string): Record<string, string | undefined> {
  const found = pattern.exec(text.trim())?.groups;
  if (found === undefined) throw new InvalidInput(`${flag} ${JSON.stringify(text)}: use the form ${form}`);
  return found;
}

/** Drops undefined members, so that the API server fills in its defaults. */
function set(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

const port = (text: string | undefined) => (text === undefined ? undefined : Number(text));

/** @throws InvalidInput */
export function parseHttpCheck(text: string): CheckInput {
  const found = groups(HTTP, text, '--http-check', HTTP_FORM);
  const { name = '', scheme, service, namespace, path, cel } = found;
  return { name, http: set({ service, namespace, port: port(found.port), path, scheme, cel }) };
}

/** @throws InvalidInput */
export function parseObjectCheck(text: string): CheckInput {
  const { name = '', apiVersion, kind, namespace, object, cel } = groups(OBJECT, text, '--object-check', OBJECT_FORM);
  return { name, kubernetes: set({ apiVersion, kind, namespace, name: object, cel }) };
}

/** @throws InvalidInput */
export function parsePrometheusCheck(text: string): CheckInput {
  const found = groups(PROMETHEUS, text, '--prometheus-check', PROMETHEUS_FORM);
  const { name = '', scheme, service, namespace, query } = found;
  return { name, prometheus: set({ service, namespace, port: port(found.port), scheme, query }) };
}
