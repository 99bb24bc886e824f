// Packages of this machine: installed when missing on Debian as root, else named in an error.
import { existsSync } from 'node:fs';
import { OplabError } from '../../src/errors.ts';
import { run, succeeds } from '../child.ts';

const commands: Readonly<Record<string, string>> = {
  'docker.io': 'dockerd',
  mmdebstrap: 'mmdebstrap',
  iptables: 'iptables',
  procps: 'ps',
};

/** Whether a program is on PATH or in the places where administrators' programs live. */
export async function hasProgram(name: string): Promise<boolean> {
  return succeeds('sh', ['-c', 'PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; command -v "$0"', name]);
}

/** Whether we may install Debian packages here. */
export function mayInstall(): boolean {
  return existsSync('/etc/debian_version') && process.getuid?.() === 0;
}

/**
 * Makes sure that the programs of these Debian packages are there; installs the packages if we may.
 * @throws OplabError OPLAB_TOOL_MISSING where we may not.
 */
export async function ensurePackages(packages: readonly string[], signal?: AbortSignal): Promise<void> {
  const missing: string[] = [];
  for (const name of packages) if (!(await hasProgram(commands[name] ?? name))) missing.push(name);
  if (missing.length === 0) return;
  if (!mayInstall())
    throw new OplabError(
      'OPLAB_TOOL_MISSING',
      `install ${missing.join(', ')} and try again (installed automatically only as root on Debian)`,
    );
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '--no-install-recommends', ...missing];
  // Lists may be fresh enough already; refreshing them first would cost every run half a minute.
  if (await succeeds('apt-get', install, { env, signal })) return;
  await run('apt-get', ['update'], { env, signal });
  await run('apt-get', install, { env, signal });
}
