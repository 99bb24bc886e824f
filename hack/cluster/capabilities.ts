// Whether this machine has the Linux capabilities that privileged containers ask for.
import { readFileSync } from 'node:fs';

const sysResource = 24n;

/** Whether the bounding set in `/proc/<pid>/status` has a capability; true when none is printed. */
export function hasCapability(status: string, number: bigint): boolean {
  const found = /^CapBnd:\s*([0-9a-fA-F]+)$/m.exec(status);
  if (found?.[1] === undefined) return true;
  return (BigInt(`0x${found[1]}`) & (1n << number)) !== 0n;
}

/** Whether CAP_SYS_RESOURCE is missing, so that runc needs the wrapper. False outside Linux. */
export function lacksSysResource(): boolean {
  if (process.platform !== 'linux') return false;
  return !hasCapability(readFileSync('/proc/self/status', 'utf8'), sysResource);
}
