// Turns a check into a kubectl command that observes the same with a person's own rights. Pure.

import type { Check, KubernetesCheck } from '../../api/check.ts';
import type { Command } from '../../api/command.ts';
import { truncate } from '../../api/truncate.ts';
import { checkExpression } from '../../checks/observe.ts';

/** The longest expression shown, in characters; the Incident has all of it. */
const MAX_CEL = 300;

/** What a command shows, and the command. */
export interface Observation {
  readonly what: string;
  readonly command: Command;
}

/** For example "stores-up must hold (body.count == 3)", and kubectl get --raw. */
export function describeObservation(check: Check, targetNamespaces: readonly string[]): Observation {
  return {
    what: `${check.name} must hold (${truncate(checkExpression(check), MAX_CEL)})`,
    command: kubectlCommand(check, targetNamespaces[0] ?? 'default'),
  };
}

/** Lists everything in a namespace that a baseline records. */
export function baselineCommand(namespace: string): Command {
  return ['kubectl', 'get', 'statefulsets,deployments,persistentvolumeclaims', '-n', namespace];
}

function kubectlCommand({ http, kubernetes, prometheus }: Check, first: string): Command {
  if (http !== undefined) {
    return throughService(http, http.namespace ?? first, http.path);
  }
  if (prometheus !== undefined) {
    const path = `${prometheus.pathPrefix}/api/v1/query?query=${encode(prometheus.query)}`;
    return throughService(prometheus, prometheus.namespace ?? first, path);
  }
  return kubernetes === undefined ? ['oplab', 'incident', 'list'] : getObjects(kubernetes, first);
}

function getObjects({ apiVersion, kind, namespace, name, labelSelector }: KubernetesCheck, first: string): Command {
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
  const objects = [`${kind.toLowerCase()}${group}`, ...(name === undefined ? [] : [name])];
  const options = [
    '-n',
    namespace ?? first,
    ...(labelSelector === undefined ? [] : ['-l', labelSelector]),
    '-o',
    'yaml',
  ];
  // An Incident can be older than the pattern for names, and --server=… was a name then.
  return objects.some((word) => word.startsWith('-'))
    ? ['kubectl', 'get', ...options, '--', ...objects]
    : ['kubectl', 'get', ...objects, ...options];
}

/** Uses the API server's service proxy, so no port-forward is needed. */
function throughService(
  to: { readonly service: string; readonly port: number; readonly scheme: 'http' | 'https' },
  namespace: string,
  path: string,
): Command {
  const service = `${to.scheme === 'https' ? 'https:' : ''}${encode(to.service)}:${to.port}`;
  // The URL resolves `..`, which a proxy in front of the API server could take for another path.
  const { pathname, search } = new URL(`http://service${path}`);
  const proxy = `/api/v1/namespaces/${encode(namespace)}/services/${service}/proxy`;
  return ['kubectl', 'get', '--raw', `${proxy}${pathname}${search}`];
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
