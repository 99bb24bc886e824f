// The settings of the renewal, and its metrics.

import { Counter, type Registry } from '../../observability/metrics.ts';
import type { Installation } from '../installation.ts';
import { type AuthorityName, authorityOf } from './authority.ts';
import type { RenewalOptions } from './renewer.ts';

/** @param names the CAs that the chart has made */
export function configureRenewal(
  names: readonly AuthorityName[],
  installation: Installation,
  registry: Registry,
): RenewalOptions {
  const renewals = new Counter({
    name: 'oplab_certificate_renewals_total',
    help: 'Certificates that were renewed, by the Secret that holds them.',
    labelNames: ['secret'],
    registers: [registry],
  });
  const failures = new Counter({
    name: 'oplab_certificate_renewal_failures_total',
    help: 'Failed tries to renew the certificates of a CA (gateway, docker or intake).',
    labelNames: ['authority'],
    registers: [registry],
  });
  for (const authority of names) failures.inc({ authority }, 0);
  return {
    authorities: names.map((name) => authorityOf(name, installation)),
    onRenewed: (secret) => renewals.inc({ secret }),
    onFailed: (authority) => failures.inc({ authority }),
  };
}
