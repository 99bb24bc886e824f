// From a Service to an address that a check may connect to. Only what selects pods of the namespace itself is taken.

import { z } from 'zod';
import type { KubeObject } from '../kube/object.ts';
import { CheckUnreadable } from './observation.ts';

const serviceSpec = z.object({
  type: z.string().optional(),
  clusterIP: z.string().optional(),
  selector: z.record(z.string(), z.string()).nullish(),
  ports: z
    .array(z.object({ name: z.string().optional(), port: z.number(), protocol: z.string().optional() }))
    .optional(),
});

const endpointSlice = z.object({
  addressType: z.string().optional(),
  ports: z.array(z.object({ name: z.string().nullish(), port: z.number().nullish() })).nullish(),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
        targetRef: z.object({ kind: z.string().optional(), namespace: z.string().optional() }).nullish(),
      }),
    )
    .nullish(),
});

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The port's name if the Service is headless and has to be resolved through its EndpointSlices. */
export type ServiceAddress = { readonly type: 'cluster-ip'; readonly address: Address } | HeadlessService;
export interface HeadlessService {
  readonly type: 'headless';
  readonly portName: string;
  readonly port: number;
}

/**
 * Where a Service answers.
 * @throws CheckUnreadable for what could point outside of the namespace: ExternalName, and Services without selector
 */
export function serviceAddress(service: KubeObject, port: number): ServiceAddress {
  const at = `Service ${service.metadata.namespace}/${service.metadata.name}`;
  const spec = serviceSpec.parse(service.spec ?? {});
  if (spec.type === 'ExternalName') {
    throw new CheckUnreadable(`${at} is of type ExternalName; a check reads only Services that select pods`);
  }
  if (spec.selector == null || Object.keys(spec.selector).length === 0) {
    throw new CheckUnreadable(`${at} has no selector; a check reads only Services that select pods`);
  }
  const entry = spec.ports?.find((candidate) => candidate.port === port && (candidate.protocol ?? 'TCP') === 'TCP');
  if (entry === undefined) {
    const known = spec.ports?.map((candidate) => candidate.port).join(', ') || 'none';
    throw new CheckUnreadable(`${at} has no TCP port ${port}; it has: ${known}`);
  }
  if (spec.clusterIP === undefined || spec.clusterIP === 'None' || spec.clusterIP === '') {
    return { type: 'headless', portName: entry.name ?? '', port };
  }
  return { type: 'cluster-ip', address: { host: spec.clusterIP, port } };
}

/** A ready endpoint of a headless Service: only pods of the Service's own namespace count. */
export function endpointAddress(headless: HeadlessService, slices: readonly KubeObject[], namespace: string): Address {
  const found: Address[] = [];
  for (const raw of slices) {
    const slice = endpointSlice.parse(raw);
    if (slice.addressType === 'FQDN') continue;
    const port = slice.ports?.find((candidate) => (candidate.name ?? '') === headless.portName)?.port;
    if (port == null) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ownPod = endpoint.targetRef?.kind === 'Pod' && endpoint.targetRef.namespace === namespace;
      const host = endpoint.addresses[0];
      if (ownPod && endpoint.conditions?.ready !== false && host !== undefined) found.push({ host, port });
    }
  }
  found.sort((a, b) => (a.host < b.host ? -1 : 1));
  const first = found[0];
  if (first === undefined)
    throw new CheckUnreadable(`no ready pod stands behind the headless Service's port ${headless.port}`);
  return first;
}
