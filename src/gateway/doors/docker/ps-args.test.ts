// Arguments of `docker top`, for which the daemon runs ps on the host.

import { describe, expect, it } from 'vitest';
import { refusal, through } from '../../../../test/support/docker-filter.ts';

const top = (args: string) => through('GET', `/containers/tikv0/top?ps_args=${encodeURIComponent(args)}`);

describe('docker top', () => {
  it.each([
    '',
    '-ef',
    'aux',
    'auxww',
    '-eo pid,args',
    '-e -o pid,args',
    '-o user,pid,ppid,%cpu,lstart,cmd',
    'axo pid,comm',
  ])('accepts the plain format "%s"', async (args) => {
    expect((await top(args)).path).toContain(`/top?ps_args=${encodeURIComponent(args)}`);
  });

  it.each([
    // The daemon keeps the lines whose column PID has the number of a process of the container.
    ...['-ouid=PID -oargs -N', '-oppid=PID -oargs -C sleep', '-o nlwp=PID,args', '-o etimes=PID -e -o args'],
    // A value with blanks moves the next columns under the headings of others.
    ...['-o args,pid', '-o lstart,pid', '-eo comm,pid,args', '-o start,pid'],
    // Selections of other processes, and environments.
    ...['-p1', '-p 1', '-q 1', '-C sleep', '--ppid 1', '-N', '-u 0', '-s 1', '-t pts/0', 'axe', 'auxe', 'e', '-e e'],
    ...['-o pid,environ', '--cols 9', '-V', '--help', '-L', 'H', '-eo', '-o', '-o args', '-o pid,args -N', '1'],
    ...['$(id)', '-ef\n-N', '-ef\u00a0-N', '-EF', '-o PID', '-o pid:20', '-o pid,,args', '-o pid,', '-ef -o pid=PID'],
  ])('refuses %j', async (args) => {
    await expect(top(args)).rejects.toEqual(refusal('INVALID_INPUT'));
  });
});
