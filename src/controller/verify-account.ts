// The service account that runs the checks of an AgentClass, for Incidents and Monitors alike. Pure builder.

import { LABEL_MANAGED_BY, MANAGED_BY } from '../api/group.ts';
import { SERVICE_ACCOUNTS } from '../kube/resources.ts';
import type { BuiltObject } from './built-object.ts';

/** Its name, in the agents' namespace. */
export function verifyAccountName(className: string): string {
  return `oplab-verify-${className.replaceAll('.', '-')}`;
}

/** It is never deleted: it has permissions only while the bindings of an Incident or a Monitor exist. */
export function verifyAccount(className: string, agentsNamespace: string): BuiltObject {
  return {
    resource: SERVICE_ACCOUNTS,
    object: {
      metadata: {
        namespace: agentsNamespace,
        name: verifyAccountName(className),
        labels: { [LABEL_MANAGED_BY]: MANAGED_BY },
      },
      automountServiceAccountToken: false,
    },
  };
}
