// Signals to containers, as kill, stop and restart send them.

import { describe, expect, it } from 'vitest';
import { refusal, through } from '../../../../test/support/docker-filter.ts';

const post = (path: string, options?: Parameters<typeof through>[3]) =>
  through('POST', `/v1.42/containers/${path}`, '', options);

describe('a signal', () => {
  it.each([
    ['tikv0/stop', 'stop tikv0'],
    ['tikv0/stop?t=5', 'stop --time 5 tikv0'],
    ['tikv0/stop?t=-1&signal=SIGHUP', 'stop --signal SIGHUP --time -1 tikv0'],
    ['tikv0/restart?signal=USR1&t=0', 'restart --signal USR1 --time 0 tikv0'],
    ['tikv0/kill', 'kill tikv0'],
    ['tikv0/kill?signal=', 'kill tikv0'],
    ['tikv0/kill?signal=RTMIN%2B3', 'kill --signal RTMIN+3 tikv0'],
  ])('is in the text of the record: %s', async (path, text) => {
    expect((await post(path)).text).toBe(text);
  });

  it.each(['USR1', 'SIGHUP', '1', 'hup', '+15', '015', 'CONT', 'RTMIN'])(
    'to a container with access to its host can only end it, not %s',
    async (signal) => {
      for (const verb of ['kill', 'stop', 'restart']) {
        await expect(post(`agent/${verb}?signal=${encodeURIComponent(signal)}`), verb).rejects.toThrow(
          'docker.allowPrivileged',
        );
        await expect(
          post(`agent/${verb}?signal=${encodeURIComponent(signal)}`, { allowPrivileged: true }),
        ).resolves.toBeDefined();
      }
    },
  );

  it.each(['', 'TERM', 'sigterm', '15', 'KILL', '9', 'SIGINT', '2', 'QUIT'])('may end one: "%s"', async (signal) => {
    for (const verb of ['kill', 'stop', 'restart'])
      await expect(post(`agent/${verb}?signal=${signal}`), verb).resolves.toBeDefined();
  });

  it('that a stop sends instead of the own one is like a kill', async () => {
    // "runner" is privileged and runs what "writer" can write.
    await expect(post('runner/stop?t=3')).resolves.toBeDefined();
    for (const path of ['runner/stop?signal=INT', 'runner/kill?signal=INT'])
      await expect(post(path), path).rejects.toThrow('docker.allowPrivileged');
  });

  it.each(['kill?signal=HUP%20x', 'kill?signal=%C5%BFIGHUP', 'stop?t=1e3', 'stop?t=5s', 'restart?t=--1'])(
    'that Go may read otherwise is refused: %s',
    async (path) => {
      await expect(post(`tikv0/${path}`)).rejects.toEqual(refusal('INVALID_INPUT'));
    },
  );
});
