// Builds the network policy of an attempt. Pure.

import { listTargetNamespaces } from '../../api/incident.ts';
import { NETWORK_POLICIES } from '../../kube/resources.ts';
import type { BuiltObject } from '../built-object.ts';
import { type AttemptRef, attemptLabels, attemptName } from './names.ts';

/**
 * Lets this attempt's pod reach the pods of the target namespaces. The policies of the agents'
 * namespace deny everything else.
 */
export function networkPolicy({ incident, attempt }: AttemptRef, agentsNamespace: string): BuiltObject {
  const labels = attemptLabels(incident, attempt);
  return {
    resource: NETWORK_POLICIES,
    object: {
      metadata: { namespace: agentsNamespace, name: attemptName(incident, attempt), labels },
      spec: {
        podSelector: { matchLabels: labels },
        policyTypes: ['Egress'],
        egress: [
          {
            to: listTargetNamespaces(incident).map((namespace) => ({
              namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
            })),
          },
        ],
      },
    },
  };
}
