// Checks from the command line are parsed into the API's form.

import { expect, it } from 'vitest';
import { check } from '../api/check.ts';
import { parseHttpCheck, parseObjectCheck, parsePrometheusCheck } from './check-flags.ts';

it('parses an HTTP check with namespace and path, and omits what is not given', () => {
  const text =
    "stores-up=tikv-pd.tikv:2379/pd/api/v1/stores?state=0 body.count == 3 && body.stores.all(s, s.x == 'a=b')";
  expect(parseHttpCheck(text)).toEqual({
    name: 'stores-up',
    http: {
      service: 'tikv-pd',
      namespace: 'tikv',
      port: 2379,
      path: '/pd/api/v1/stores?state=0',
      cel: "body.count == 3 && body.stores.all(s, s.x == 'a=b')",
    },
  });
  expect(parseHttpCheck('up=https://pd:2379 status == 200')).toEqual({
    name: 'up',
    http: { service: 'pd', port: 2379, scheme: 'https', cel: 'status == 200' },
  });
});

it('parses a check of an object, also of the core group', () => {
  expect(parseObjectCheck('replicas=apps/v1/StatefulSet/tikv-tikv object.status.readyReplicas == 3')).toEqual({
    name: 'replicas',
    kubernetes: {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      name: 'tikv-tikv',
      cel: 'object.status.readyReplicas == 3',
    },
  });
  expect(parseObjectCheck("state=v1/ConfigMap/lab/patient object.data.state == 'well'")).toMatchObject({
    kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'lab', name: 'patient' },
  });
});

it('parses a query that must match nothing', () => {
  const read = parsePrometheusCheck('latency=tikv-prometheus.tikv max(tikv_latency_seconds) > 0.1');
  expect(read).toEqual({
    name: 'latency',
    prometheus: { service: 'tikv-prometheus', namespace: 'tikv', query: 'max(tikv_latency_seconds) > 0.1' },
  });
  expect(check.parse(read)).toMatchObject({ prometheus: { port: 9090, cel: 'size(samples) == 0' } });
});

it.each([
  () => parseHttpCheck('stores-up'),
  () => parseHttpCheck('up=pd/path status == 200'),
  () => parseHttpCheck('up=pd:2379'),
  () => parseObjectCheck('x=apps/v1/statefulset/y true'),
  () => parsePrometheusCheck('p=service'),
])('says which form it wants when a check has another (%#)', (read) => {
  expect(read).toThrow(/: use the form NAME=/);
});
