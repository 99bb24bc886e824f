// Finds the addresses of a Service that a check may connect to: only pods that it selects.
//
// Whoever may write EndpointSlices can add any address to a Service, and kube-proxy then sends the
// Service's own address there too. So a check never connects to the Service's own address, and
// believes an EndpointSlice only after the pod that it names has confirmed the address.

import * as z from 'zod';
import type { KubeObject } from '../kube/object.ts';
import { CheckUnreadable } from './observation.ts';

const serviceSpec = z.object({
  type: z.string().optional(),
  selector: z.record(z.string(), z.string()).nullish(),
  ports: z
    .array(z.object({ name: z.string().optional(), port: z.number(), protocol: z.string().optional() }))
    .optional(),
});

const endpointSlice = z.object({
  ports: z.array(z.object({ name: z.string().nullish(), port: z.number().nullish() })).nullish(),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
        targetRef: z
          .object({ kind: z.string().optional(), namespace: z.string().optional(), name: z.string().optional() })
          .nullish(),
      }),
    )
    .nullish(),
});

const endpointPod = z.object({
  spec: z.object({ hostNetwork: z.boolean().nullish() }).nullish(),
  status: z
    .object({
      phase: z.string().optional(),
      podIPs: z.array(z.object({ ip: z.string() })).nullish(),
    })
    .nullish(),
});

/** A port of a Service. The EndpointSlices refer to it by name. */
export interface ServicePort {
  readonly service: string;
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly portName: string;
  readonly port: number;
}

/** An address in an EndpointSlice. Whether it is the address of that pod is not verified yet. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Undefined if the EndpointSlice names no pod in the Service's namespace. */
  readonly pod: string | undefined;
}

/**
 * Finds a port of a Service.
 * @throws CheckUnreadable for a Service that could point outside its namespace: ExternalName, or
 * one without a selector
 */
export function servicePort(service: KubeObject, port: number): ServicePort {
  const { name, namespace = '' } = service.metadata;
  const at = `Service ${namespace}/${name}`;
  const { type, selector, ports } = serviceSpec.parse(service.spec ?? {});
  if (type === 'ExternalName') {
    throw new CheckUnreadable(`${at} is of type ExternalName; a check reads only Services that select pods`);
  }
  if (selector == null || Object.keys(selector).length === 0) {
    throw new CheckUnreadable(`${at} has no selector; a check reads only Services that select pods`);
  }
  const entry = ports?.find((candidate) => candidate.port === port && (candidate.protocol ?? 'TCP') === 'TCP');
  if (entry === undefined) {
    const known = ports?.map((candidate) => candidate.port).join(', ') || 'none';
    throw new CheckUnreadable(`${at} has no TCP port ${port}; it has: ${known}`);
  }
  return { service: name, namespace, selector, portName: entry.name ?? '', port };
}

/**
 * Lists the endpoints of a port, ready ones first. One that is not ready counts too, because it may
 * be the one that reports what is wrong.
 */
export function listEndpoints({ portName, namespace }: ServicePort, slices: readonly KubeObject[]): Endpoint[] {
  const found: (Endpoint & { readonly ready: boolean })[] = [];
  for (const raw of slices) {
    const slice = endpointSlice.parse(raw);
    const port = slice.ports?.find((candidate) => (candidate.name ?? '') === portName)?.port;
    if (port == null) continue;
    for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
      const host = addresses[0];
      if (host === undefined) continue;
      const isPod = targetRef?.kind === 'Pod' && targetRef.namespace === namespace;
      found.push({ host, port, pod: isPod ? targetRef.name : undefined, ready: conditions?.ready !== false });
    }
  }
  return found
    .sort((a, b) => Number(b.ready) - Number(a.ready) || ((a.pod ?? a.host) < (b.pod ?? b.host) ? -1 : 1))
    .map(({ host, port, pod }) => ({ host, port, pod }));
}

/**
 * Why a check may not connect to an endpoint; undefined if it may.
 * @param pod the pod that the endpoint names; undefined if there is none
 */
export function findRefusal(found: ServicePort, endpoint: Endpoint, pod: KubeObject | undefined): string | undefined {
  const why = findDoubt(found, endpoint, pod);
  if (why === undefined) return undefined;
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return `endpoint ${host}:${endpoint.port} of Service ${found.namespace}/${found.service} is refused: ${why}`;
}

function findDoubt(
  { namespace, selector }: ServicePort,
  endpoint: Endpoint,
  pod: KubeObject | undefined,
): string | undefined {
  if (endpoint.pod === undefined) return `its EndpointSlice names no pod of namespace ${namespace}`;
  const who = `pod ${namespace}/${endpoint.pod}`;
  if (pod === undefined) return `${who} does not exist`;
  const { spec, status } = endpointPod.parse(pod);
  if (spec?.hostNetwork === true) return `${who} uses the network of its node (hostNetwork)`;
  // The address of a pod that has ended may belong to another pod by now.
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return `${who} has ended (${status.phase})`;
  const addresses = status?.podIPs?.map(({ ip }) => ip) ?? [];
  if (!addresses.includes(endpoint.host)) return `${who} has other addresses (${addresses.join(', ') || 'none yet'})`;
  const labels = pod.metadata.labels ?? {};
  const differing = Object.entries(selector).find(([label, value]) => labels[label] !== value);
  return differing && `${who} does not have the label ${differing.join('=')}, which the Service selects`;
}
