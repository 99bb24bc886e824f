// Whether a request touches the canary Secret of a target namespace: reads it by its name, writes
// it, or names it in something that would read it. Listing Secrets does not touch it. Pure.

import type { CanonicalBody } from './body.ts';
import type { KubeRequest } from './classify.ts';

export interface CanarySecret {
  readonly name: string;
  /** The namespaces that hold it. */
  readonly namespaces: readonly string[];
}

/** What the request line touches, in words; undefined if nothing. */
export function findCanary(request: KubeRequest, { name, namespaces }: CanarySecret): string | undefined {
  const { group, resource, namespace, verb } = request;
  if (group !== '' || resource !== 'secrets' || namespaces.length === 0) return undefined;
  if (namespace !== undefined && !namespaces.includes(namespace)) return undefined;
  const touched = () => `${verb} of Secret ${namespace ?? namespaces[0]}/${name}`;
  if (request.name !== undefined) return request.name === name ? touched() : undefined;
  const fields = request.query.getAll('fieldSelector').join(',');
  if (namesObject(fields, name)) return touched();
  if (verb !== 'deletecollection') return undefined;
  // It has no labels, and another name than the one that is selected.
  const labels = request.query.getAll('labelSelector').join(',');
  return /metadata\.name==?/.test(fields) || !selectsUnlabelled(labels) ? undefined : touched();
}

/**
 * What the body of a write touches, in words; undefined if nothing: a pod that mounts the Secret,
 * an environment variable from it, or the Secret itself under the name that the body gives it.
 */
export function findCanaryInBody(
  request: KubeRequest,
  body: CanonicalBody,
  { name, namespaces }: CanarySecret,
): string | undefined {
  const { namespace, verb, resource } = request;
  if (namespace === undefined || !namespaces.includes(namespace) || body.type === 'none') return undefined;
  const isNamed = body.type === 'json' ? hasString(body.value, name) : body.text.includes(JSON.stringify(name));
  return isNamed ? `${verb} of ${resource} that names Secret ${namespace}/${name}` : undefined;
}

function namesObject(fieldSelector: string, name: string): boolean {
  return fieldSelector.split(',').some((part) => /^\s*metadata\.name\s*==?\s*(.*?)\s*$/.exec(part)?.[1] === name);
}

/** Whether a label selector selects objects without labels: all of its terms are negative. */
function selectsUnlabelled(labelSelector: string): boolean {
  const terms = labelSelector.replaceAll(/\([^)]*\)/g, '()').split(',');
  return terms.every((term) => term.trim() === '' || /^\s*!|!=|\snotin\s*\(/.test(term));
}

function hasString(value: unknown, text: string): boolean {
  if (typeof value === 'string') return value === text;
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((part) => hasString(part, text));
}
