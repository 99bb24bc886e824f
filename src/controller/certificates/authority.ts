// The CAs that the chart has made, and the objects that hold what they signed.

import type { ObjectRef } from '../../kube/client.ts';
import type { Installation } from '../installation.ts';

/** The names by which the chart says whose certificates are its own. */
export const AUTHORITIES = ['gateway', 'docker', 'intake'] as const;
export type AuthorityName = (typeof AUTHORITIES)[number];

export interface Authority {
  readonly name: AuthorityName;
  /** The Secret with the CA's certificate and key: `tls.crt`, `tls.key`. */
  readonly secret: ObjectRef;
  /** Secrets with a leaf and the CAs that its owner trusts: `tls.crt`, `tls.key`, `ca.crt`. */
  readonly leaves: readonly ObjectRef[];
  /** ConfigMaps with the trusted CAs: `ca.crt`. */
  readonly bundles: readonly ObjectRef[];
}

/** A CA and its objects. Their names are those of the chart. */
export function authorityOf(name: AuthorityName, installation: Installation): Authority {
  const { systemNamespace, agentsNamespace, dockerNamespace } = installation;
  const own = (secret: string) => ({ namespace: systemNamespace, name: secret });
  switch (name) {
    case 'gateway': {
      const bundles = [{ namespace: agentsNamespace, name: 'oplab-gateway-ca' }];
      return { name, secret: own('oplab-gateway-ca'), leaves: [own('oplab-gateway-tls')], bundles };
    }
    case 'docker': {
      const server = { namespace: dockerNamespace, name: 'oplab-docker-socket-tls' };
      return { name, secret: own('oplab-docker-ca'), leaves: [server, own('oplab-docker-client')], bundles: [] };
    }
    // Its senders have a copy of ca.crt.
    case 'intake':
      return { name, secret: own('oplab-intake-ca'), leaves: [own('oplab-intake-tls')], bundles: [] };
  }
}
