// Turns a check into a kubectl command that observes the same with a person's own rights. Pure.

import type { Check } from '../../api/check.ts';
import { truncate } from '../../api/truncate.ts';
import { checkExpression } from '../../checks/observe.ts';

/** The longest expression shown, in characters; the Incident has all of it. */
const MAX_CEL = 300;

/** For example "stores-up must hold (body.count == 3): kubectl get --raw '…'". */
export function checkCommand(check: Check, targetNamespaces: readonly string[]): string {
  return `${check.name} must hold (${truncate(checkExpression(check), MAX_CEL)}): ${kubectlCommand(check, targetNamespaces[0] ?? 'default')}`;
}

/** Lists everything that a baseline records. */
export function baselineCommand(targetNamespaces: readonly string[]): string {
  return targetNamespaces
    .map((namespace) => `kubectl get statefulsets,deployments,persistentvolumeclaims -n ${namespace}`)
    .join('; ');
}

function kubectlCommand({ http, kubernetes, prometheus }: Check, first: string): string {
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
    ...(labelSelector === undefined ? [] : [`-l ${quote(labelSelector)}`]),
    '-o yaml',
  ].join(' ');
}

/** Uses the API server's service proxy, so no port-forward is needed. */
function throughService(
  to: { readonly service: string; readonly port: number; readonly scheme: 'http' | 'https' },
  namespace: string,
  path: string,
): string {
  const service = `${to.scheme === 'https' ? 'https:' : ''}${to.service}:${to.port}`;
  return `kubectl get --raw ${quote(`/api/v1/namespaces/${namespace}/services/${service}/proxy${path}`)}`;
}

/** Quotes the text as one word for a POSIX shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
