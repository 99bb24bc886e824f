// Finds the addresses of a Service that a check may connect to: only pods of its own namespace.

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
        targetRef: z
          .object({ kind: z.string().optional(), namespace: z.string().optional(), name: z.string().optional() })
          .nullish(),
      }),
    )
    .nullish(),
});

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A port of a Service. The EndpointSlices refer to it by name. */
export interface ServicePort {
  readonly portName: string;
  readonly port: number;
  /** Undefined if the Service is headless. */
  readonly clusterAddress: Address | undefined;
}

/** A pod behind a Service. */
export interface Endpoint extends Address {
  readonly pod: string;
}

/**
 * Finds a port of a Service.
 * @throws CheckUnreadable for a Service that could point outside its namespace: ExternalName, or
 * one without a selector
 */
export function servicePort(service: KubeObject, port: number): ServicePort {
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
  const isHeadless = spec.clusterIP === undefined || spec.clusterIP === 'None' || spec.clusterIP === '';
  const clusterAddress = isHeadless ? undefined : { host: spec.clusterIP ?? '', port };
  return { portName: entry.name ?? '', port, clusterAddress };
}

/**
 * Lists the pods that serve a port, ready ones first. A pod that is not ready counts too, because
 * it may be the one that reports what is wrong. Only pods in the Service's own namespace count.
 */
export function listEndpoints({ portName }: ServicePort, slices: readonly KubeObject[], namespace: string): Endpoint[] {
  const found: (Endpoint & { readonly ready: boolean })[] = [];
  for (const raw of slices) {
    const slice = endpointSlice.parse(raw);
    if (slice.addressType === 'FQDN') continue;
    const port = slice.ports?.find((candidate) => (candidate.name ?? '') === portName)?.port;
    if (port == null) continue;
    for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
      const host = addresses[0];
      if (targetRef?.kind !== 'Pod' || targetRef.namespace !== namespace || host === undefined) continue;
      found.push({ host, port, pod: targetRef.name ?? host, ready: conditions?.ready !== false });
    }
  }
  return found
    .sort((a, b) => Number(b.ready) - Number(a.ready) || (a.pod < b.pod ? -1 : 1))
    .map(({ host, port, pod }) => ({ host, port, pod }));
}
