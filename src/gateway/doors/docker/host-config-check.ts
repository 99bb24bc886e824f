// Checks the HostConfig of a new container, and the settings of an update. Pure.

import type { DockerAccess } from '../../../api/docker-access.ts';
import { type HostConfig, needs, requireOneOf } from './container-spec.ts';
import { describeField, listHostAccess } from './host-access.ts';

/** Refuses access to the host that the class does not allow. @throws NotAllowed */
export function checkHostConfig(wanted: HostConfig, access: DockerAccess): void {
  const denied = listHostAccess(wanted, undefined).find(({ flag }) => !access[flag]);
  if (denied !== undefined) throw needs(denied.flag, describeField(`HostConfig.${denied.field}`, denied.value));
  // Even with all flags, these have no other values that the door understands.
  requireOneOf('HostConfig.UTSMode', wanted.UTSMode, ['', 'host']);
  requireOneOf('HostConfig.UsernsMode', wanted.UsernsMode, ['', 'host']);
  requireOneOf('HostConfig.CgroupnsMode', wanted.CgroupnsMode, ['', 'private', 'host']);
  requireOneOf('HostConfig.Isolation', wanted.Isolation, ['', 'default']);
  requireOneOf('HostConfig.VolumeDriver', wanted.VolumeDriver, ['', 'local']);
}
