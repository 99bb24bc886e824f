// A check as a command that a person can paste: the same look, with their own rights. Pure.

import type { Check } from '../../api/check.ts';
import { truncate } from '../../api/truncate.ts';
import { checkExpression } from '../../checks/observe.ts';

/** Of an expression, in characters; the whole of it is in the Incident. */
const MAX_CEL = 300;

/** "stores-up must hold (body.count == 3): kubectl get --raw '…'". */
export function checkCommand(check: Check, targetNamespaces: readonly string[]): string {
  return `${check.name} must hold (${truncate(checkExpression(check), MAX_CEL)}): ${commandOf(check, targetNamespaces[0] ?? 'default')}`;
}

/** What lists all that a baseline is made of. */
export function baselineCommand(targetNamespaces: readonly string[]): string {
  return targetNamespaces
    .map((namespace) => `kubectl get statefulsets,deployments,persistentvolumeclaims -n ${namespace}`)
    .join('; ');
}

function commandOf({ http, kubernetes, prometheus }: Check, first: string): string {
  if (http !== undefined) {
    return throughService(http, http.namespace ?? first, http.path);
  }
  if (prometheus !== undefined) {
    const path = `${prometheus.pathPrefix}/api/v1/query?query=${encodeURIComponent(prometheus.query)}`;
    return throughService(prometheus, prometheus.namespace ?? first, path);
  }
  if (kubernetes === undefined) return 'oplab incident show';
  const { apiVersion, kind, namespace, name, labelSelector } = kubernetes;
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
  return [
    `kubectl get ${kind.toLowerCase()}${group}`,
    ...(name === undefined ? [] : [name]),
    `-n ${namespace ?? first}`,
    ...(labelSelector === undefined ? [] : [`-l ${quoted(labelSelector)}`]),
    '-o yaml',
  ].join(' ');
}

/** By the API server's proxy: needs no port-forward, and works from wherever kubectl does. */
function throughService(
  to: { readonly service: string; readonly port: number; readonly scheme: 'http' | 'https' },
  namespace: string,
  path: string,
): string {
  const service = `${to.scheme === 'https' ? 'https:' : ''}${to.service}:${to.port}`;
  return `kubectl get --raw ${quoted(`/api/v1/namespaces/${namespace}/services/${service}/proxy${path}`)}`;
}

/** As one word for a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
