// A Service with pods and EndpointSlices, as the API server shows them to a check.

import type { ObjectRef } from '../../src/kube/client.ts';
import { KubeError } from '../../src/kube/errors.ts';
import { type KubeObject, kubeObject } from '../../src/kube/object.ts';
import type { Resource } from '../../src/kube/resources.ts';

export interface FakeService {
  readonly name: string;
  readonly namespace?: string;
  readonly spec?: object;
  /** Default: one pod, `<name>-0` with the address 10.1.0.1, in an EndpointSlice. */
  readonly pods?: readonly FakePod[];
  /** Default: the slice that the endpoint controller would make. */
  readonly slices?: readonly object[];
}

export interface FakePod {
  readonly name: string;
  readonly ips: readonly string[];
  readonly ready?: boolean;
  readonly labels?: Record<string, string>;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
}

/** The endpoint that the endpoint controller makes of a pod. */
export function endpointOf({ name, ips, ready = true }: FakePod, namespace = 'tikv'): object {
  return { addresses: ips.slice(0, 1), conditions: { ready }, targetRef: { kind: 'Pod', namespace, name } };
}

/** The client that a check uses. It knows only this Service. */
export function fakeService({ name, namespace = 'tikv', spec, ...given }: FakeService) {
  const service = { selector: { app: name }, ports: [{ port: 9090 }], ...spec };
  const pods = given.pods ?? [{ name: `${name}-0`, ips: ['10.1.0.1'] }];
  const slices = given.slices ?? [{ ports: service.ports, endpoints: pods.map((pod) => endpointOf(pod, namespace)) }];
  const objects = new Map<string, object>([[`services/${namespace}/${name}`, { spec: service }]]);
  for (const { name: pod, ips, labels = { app: name }, phase = 'Running', hostNetwork } of pods)
    objects.set(`pods/${namespace}/${pod}`, {
      labels,
      spec: { hostNetwork },
      status: { phase, podIPs: ips.map((ip) => ({ ip })) },
    });
  return {
    async get(resource: Resource, ref: ObjectRef): Promise<KubeObject> {
      const object = objects.get(`${resource.plural}/${ref.namespace}/${ref.name}`);
      if (object === undefined) throw new KubeError(404, 'NotFound', 'not found');
      const { labels, ...rest } = { labels: undefined, ...object };
      return kubeObject.parse({ metadata: { name: ref.name, namespace: ref.namespace, labels }, ...rest });
    },
    list: async () => ({
      items: slices.map((slice) => kubeObject.parse({ metadata: {}, ...slice })),
      resourceVersion: '',
    }),
  };
}
