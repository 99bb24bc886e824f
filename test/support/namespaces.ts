// The resource "namespaces", which oplab itself never reads or writes.

import type { Resource } from '../../src/kube/resources.ts';

export const NAMESPACES: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
