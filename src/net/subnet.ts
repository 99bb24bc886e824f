// Whether an address is in a subnet, for IPv4 and IPv6. Pure.

import { BlockList, isIP } from 'node:net';

/** @param subnet in CIDR notation. Malformed subnets contain nothing. */
export function isInSubnet(subnet: string, address: string): boolean {
  const [base = '', prefix = ''] = subnet.split('/');
  const family = isIP(base);
  if (family === 0 || isIP(address) !== family || !/^[0-9]{1,3}$/.test(prefix)) return false;
  if (Number(prefix) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(prefix), type);
  return list.check(address, type);
}
