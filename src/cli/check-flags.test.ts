// Checks on the command line become what the API takes.

import { expect, it } from 'vitest';
import { check } from '../api/check.ts';
import { httpCheckOf, objectCheckOf, prometheusCheckOf } from './check-flags.ts';

it('reads an HTTP check, namespace, path and all, and leaves out what is not said', () => {
  const text =
    "stores-up=tikv-pd.tikv:2379/pd/api/v1/stores?state=0 body.count == 3 && body.stores.all(s, s.x == 'a=b')";
  expect(httpCheckOf(text)).toEqual({
    name: 'stores-up',
    http: {
      service: 'tikv-pd',
      namespace: 'tikv',
      port: 2379,
      path: '/pd/api/v1/stores?state=0',
      cel: "body.count == 3 && body.stores.all(s, s.x == 'a=b')",
    },
  });
  expect(httpCheckOf('up=https://pd:2379 status == 200')).toEqual({
    name: 'up',
    http: { service: 'pd', port: 2379, scheme: 'https', cel: 'status == 200' },
  });
});

it('reads a check of an object, of the core group too', () => {
  expect(objectCheckOf('replicas=apps/v1/StatefulSet/tikv-tikv object.status.readyReplicas == 3')).toEqual({
    name: 'replicas',
    kubernetes: {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      name: 'tikv-tikv',
      cel: 'object.status.readyReplicas == 3',
    },
  });
  expect(objectCheckOf("state=v1/ConfigMap/lab/patient object.data.state == 'well'")).toMatchObject({
    kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'lab', name: 'patient' },
  });
});

it('reads a query, of which nothing may match', () => {
  const read = prometheusCheckOf('latency=tikv-prometheus.tikv max(tikv_latency_seconds) > 0.1');
  expect(read).toEqual({
    name: 'latency',
    prometheus: { service: 'tikv-prometheus', namespace: 'tikv', query: 'max(tikv_latency_seconds) > 0.1' },
  });
  expect(check.parse(read)).toMatchObject({ prometheus: { port: 9090, cel: 'size(samples) == 0' } });
});

it.each([
  () => httpCheckOf('stores-up'),
  () => httpCheckOf('up=pd/path status == 200'),
  () => httpCheckOf('up=pd:2379'),
  () => objectCheckOf('x=apps/v1/statefulset/y true'),
  () => prometheusCheckOf('p=service'),
])('says which form it wants when a check has another (%#)', (read) => {
  expect(read).toThrow(/: write NAME=/);
});
