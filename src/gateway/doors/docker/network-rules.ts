// Which settings of a network and of an address in it give access to the host's own network. Pure.

import { isIP } from 'node:net';
import type * as z from 'zod';
import type { DockerAccess } from '../../../api/docker-access.ts';
import { InvalidInput } from '../../../errors.ts';
import { isInSubnet } from '../../../net/subnet.ts';
import { type endpoint, needs, requireOneOf } from './container-spec.ts';
import type { NetworkFacts } from './facts.ts';
import { isZeroValue } from './go-object.ts';
import { describeField } from './host-access.ts';
import type { networkSpec } from './object-specs.ts';

type NetworkSpec = z.infer<typeof networkSpec>;

/** Options of a bridge that do not affect the host's other interfaces. */
const OPTIONS: ReadonlySet<string> = new Set([
  'com.docker.network.bridge.enable_icc',
  'com.docker.network.bridge.enable_ip_masquerade',
  'com.docker.network.driver.mtu',
]);

/**
 * What each field of a new network may be without `allowHostNamespaces`: the wrong part, or
 * undefined. Fields that the specification does not have (ConfigFrom, ConfigOnly, Ingress) are
 * refused with it.
 */
const FIELDS: { readonly [K in keyof NetworkSpec]-?: (wanted: NetworkSpec) => unknown } = {
  Name: () => undefined,
  CheckDuplicate: () => undefined,
  // Others (macvlan, ipvlan, host, plugins) join the host's interfaces.
  Driver: ({ Driver = '' }) => (['', 'default', 'bridge'].includes(Driver) ? undefined : Driver),
  Scope: () => undefined,
  EnableIPv4: () => undefined,
  EnableIPv6: () => undefined,
  // Only takes routes away.
  Internal: () => undefined,
  // Has a meaning only in a swarm.
  Attachable: () => undefined,
  // The host gets a route to the subnet and the gateway as its own address, whatever was there.
  IPAM: ({ IPAM }) => IPAM?.Config?.find((config) => !isZeroValue(config)),
  // For example the name of the bridge, or the address to which ports are bound.
  Options: ({ Options = {} }) => Object.entries(Options).find(([name]) => !OPTIONS.has(name)),
  Labels: () => undefined,
};

/** Refuses access to the host's network that the class does not allow. @throws NotAllowed */
export function checkNetwork(wanted: NetworkSpec, access: DockerAccess): void {
  requireOneOf('Scope', wanted.Scope, ['', 'local']);
  if (access.allowHostNamespaces) return;
  for (const [field, findWrong] of Object.entries(FIELDS)) {
    const wrong = findWrong(wanted);
    if (wrong === undefined) continue;
    const instead = field === 'IPAM' ? 'leave out subnet, gateway and addresses, and the host chooses them' : undefined;
    throw needs('allowHostNamespaces', describeField(field === 'IPAM' ? 'IPAM.Config' : field, wrong), instead);
  }
}

/**
 * Checks the addresses that a container wants in a network. @throws NotAllowed, InvalidInput
 */
export function checkEndpoint(wanted: z.infer<typeof endpoint>, network: NetworkFacts, access: DockerAccess): void {
  const { IPv4Address = '', IPv6Address = '', LinkLocalIPs } = wanted.IPAMConfig ?? {};
  if (!isZeroValue(LinkLocalIPs) && !access.allowHostNamespaces)
    throw needs('allowHostNamespaces', describeField('IPAMConfig.LinkLocalIPs', LinkLocalIPs));
  for (const [field, address] of Object.entries({ IPv4Address, IPv6Address })) {
    if (address === '') continue;
    const refuse = (why: string) => {
      throw new InvalidInput(
        `IPAMConfig.${describeField(field, address)} ${why} network ${network.name}: leave it out, or use another address of its subnet`,
      );
    };
    if (network.subnets.some(({ gateway }) => isInSubnet(`${gateway}/${isIP(gateway) === 6 ? 128 : 32}`, address)))
      refuse('is the gateway of');
    if (!network.subnets.some(({ subnet }) => isInSubnet(subnet, address))) refuse('is not in the subnet of');
  }
}
