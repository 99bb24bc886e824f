// Rights of an attempt: how long an answer is used, and what a refusal says.

import { describe, expect, it } from 'vitest';
import { classify } from './classify.ts';
import { describeAccess, forbidden } from './forbidden-status.ts';

const message = (method: string, url: string, reason = '') =>
  forbidden('system:serviceaccount:oplab-agents:a', describeAccess(method, classify(method, url)), reason).message;

describe('a refusal', () => {
  it.each([
    [
      'PATCH',
      '/apis/apps/v1/namespaces/tikv/statefulsets/pd/scale',
      'statefulsets.apps "pd" is forbidden: User "system:serviceaccount:oplab-agents:a" cannot patch resource "statefulsets/scale" in API group "apps" in the namespace "tikv"',
    ],
    [
      'POST',
      '/apis/scheduling.k8s.io/v1/priorityclasses',
      'priorityclasses.scheduling.k8s.io is forbidden: User "system:serviceaccount:oplab-agents:a" cannot create resource "priorityclasses" in API group "scheduling.k8s.io" at the cluster scope',
    ],
    [
      'DELETE',
      '/api/v1/namespaces/tikv/pods',
      'pods is forbidden: User "system:serviceaccount:oplab-agents:a" cannot deletecollection resource "pods" in API group "" in the namespace "tikv"',
    ],
    [
      'PUT',
      '/api/v1/namespaces/tikv/services/x/proxy/run',
      'services "x" is forbidden: User "system:serviceaccount:oplab-agents:a" cannot update resource "services/proxy" in API group "" in the namespace "tikv"',
    ],
    ['POST', '/metrics', 'forbidden: User "system:serviceaccount:oplab-agents:a" cannot post path "/metrics"'],
  ])('says what the API server says: %s %s', (method, url, text) => {
    expect(message(method, url)).toBe(text);
    expect(message(method, url, 'RBAC: role not found')).toBe(`${text}: RBAC: role not found`);
  });
});
