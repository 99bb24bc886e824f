// Builds the service account of an attempt. Pure.

import { SERVICE_ACCOUNTS } from '../../kube/resources.ts';
import type { BuiltObject } from '../built-object.ts';
import { type AttemptRef, attemptLabels, attemptName } from './names.ts';

/** The kube door acts as this account. The API server accepts none of the pod's tokens for it. */
export function serviceAccount({ incident, attempt }: AttemptRef, agentsNamespace: string): BuiltObject {
  return {
    resource: SERVICE_ACCOUNTS,
    object: {
      metadata: {
        namespace: agentsNamespace,
        name: attemptName(incident, attempt),
        labels: attemptLabels(incident, attempt),
      },
      automountServiceAccountToken: false,
    },
  };
}
