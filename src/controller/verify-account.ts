// Builds the service account that runs the checks of an AgentClass. Pure.

import { LABEL_MANAGED_BY, MANAGED_BY } from '../api/group.ts';
import { SERVICE_ACCOUNTS } from '../kube/resources.ts';
import type { BuiltObject } from './built-object.ts';

/** Its name, in the agents' namespace. */
export function verifyAccountName(className: string): string {
  return `oplab-verify-${className.replaceAll('.', '-')}`;
}

/** Never deleted, as it has rights only while an Incident or a Monitor binds them. */
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
