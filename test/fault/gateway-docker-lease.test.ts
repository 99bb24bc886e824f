// When the docker door is open, with the real docker command and a real dockerd: for which attempts,
// for how long, and to whom the socket process answers.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DockerHarness, type DockerSandbox, SLEEPER, startDockerHarness } from '../support/docker-harness.ts';
import { eventually } from '../support/eventually.ts';

let lab: DockerHarness;
let sandbox: DockerSandbox;
/** A container of the project, which sleeps. */
let mine: string;

beforeAll(async () => {
  lab = await startDockerHarness();
  mine = await lab.run(lab.ours, `${lab.ours}-tikv0`, lab.image, ...SLEEPER);
  sandbox = await lab.sandbox('docker');
});
afterAll(async () => {
  await lab?.close();
});

describe('the lease', () => {
  it('cuts logs -f and exec within a second when the attempt ends, and then forwards nothing', async () => {
    const other = await lab.sandbox('cut');
    const follow = ['logs', '-f', mine];
    const shell = ['exec', '-i', mine, 'sh', '-c', 'echo on; sleep 60'];
    const children = [follow, shell].map((args) =>
      spawn('docker', args, {
        env: { PATH: process.env.PATH, HOME: tmpdir(), DOCKER_HOST: `unix://${other.socketPath}` },
        stdio: ['pipe', 'pipe', 'ignore'],
      }),
    );
    const ends = children.map(
      (child) =>
        new Promise<number>((resolve) => {
          child.once('exit', () => resolve(performance.now()));
        }),
    );
    await Promise.all(children.map((child) => new Promise((resolve) => child.stdout?.once('data', resolve))));
    const attempts = (await lab.gateway.incident('cut')).status?.attempts ?? [];
    await lab.gateway.setStatus('cut', {
      attempts: [{ ...attempts[0], endTime: new Date().toISOString(), reason: 'Interrupted' }],
    });
    const cutAt = performance.now();
    for (const end of ends) expect((await end) - cutAt).toBeLessThan(1500);
    const after = await other.docker('ps');
    expect(after.stderr).toContain('OPLAB_NO_LEASE: attempt 1 has ended');
    const outcome = await eventually(async () =>
      (await lab.gateway.entries(other.attempt)).find(
        ({ kind, params }) => kind === 'docker_outcome' && Object(params).operation === 'exec.start',
      ),
    );
    expect(outcome.content).toContain('the lease ended');
  });

  it('in mode Diagnose allows reads and no changes', async () => {
    const looking = await lab.sandbox('looking', {}, 'Diagnose');
    expect((await looking.docker('ps', '--format', '{{.Names}}')).stdout).toContain(mine);
    expect((await looking.docker('stop', mine)).stderr).toContain('Diagnose');
    expect((await looking.docker('exec', mine, 'id')).stderr).toContain('Diagnose');
    expect(await lab.host('inspect', '--format', '{{.State.Status}}', mine)).toBe('running');
  });

  it('of a class that opens another label, another host or none reaches nothing here', async () => {
    const other = await lab.sandbox('labelled', { composeProject: undefined, label: 'team=nobody' });
    expect((await other.docker('ps', '-aq')).stdout).toBe('');
    const elsewhere = await lab.sandbox('elsewhere', { endpoint: 'unheard-of' });
    expect((await elsewhere.docker('ps')).stderr).toContain('no Docker host unheard-of');
    const attempt = await lab.gateway.open('no-docker');
    const answer = await fetchDoor(attempt.sandboxToken);
    expect(answer).toContain('does not allow a Docker host');
    expect(await fetchDoor(attempt.agentToken)).toContain('OPLAB_UNAUTHENTICATED');
  });

  it('with host mounts allowed may use host mounts', async () => {
    const mounting = await lab.sandbox('mounting', { allowHostMounts: true });
    const ran = await mounting.docker(
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      '/etc/hostname:/h:ro',
      lab.image,
      'cat',
      '/h',
    );
    expect(ran.stdout).toBe(await readFile('/etc/hostname', 'utf8'));
  });
});

async function fetchDoor(token: string): Promise<string> {
  const ca = await readFile(path.join(lab.gateway.dir, 'tls.crt'));
  return await new Promise((resolve, reject) => {
    const port = lab.gateway.gateway.ports.docker;
    request(
      { host: '127.0.0.1', port, path: '/containers/json', ca, headers: { authorization: `Bearer ${token}` } },
      (answer) => text(answer).then(resolve, reject),
    )
      .on('error', reject)
      .end();
  });
}

describe('the socket process', () => {
  it.each(['none', 'stranger'])('accepts only the gateway: certificate %s', async (who) => {
    const folder = path.join(lab.tls, who);
    const identity =
      who === 'none'
        ? {}
        : { cert: await readFile(path.join(folder, 'tls.crt')), key: await readFile(path.join(folder, 'tls.key')) };
    const ca = await readFile(path.join(lab.tls, 'ca.crt'));
    const got = await new Promise<string>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: lab.relayPort, ca, ...identity });
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('error', () => resolve(answer));
      socket.on('close', () => resolve(answer));
      socket.write('GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    });
    expect(got).toBe('');
  });

  it('while it is down: writes are refused before anything is recorded as done, and work again when it is back', async () => {
    await lab.socketProcess(false);
    const entries = await lab.recorded(sandbox, async () => {
      const refused = await sandbox.docker('stop', mine);
      expect(refused.stderr).toContain('OPLAB_UPSTREAM_UNAVAILABLE');
    });
    expect(entries).toEqual([]);
    await lab.socketProcess(true);
    expect((await sandbox.docker('ps', '-q')).code).toBe(0);
  });
});

describe('while no command of the attempt is running', () => {
  it('a write is refused and on record, and ends the lease', async () => {
    const left = await lab.sandbox('left', {}, 'Repair', true);
    expect((await left.docker('ps')).code).toBe(0);
    const entries = await lab.recorded(left, async () => {
      const stopped = await left.docker('stop', mine);
      expect([stopped.code, stopped.stderr]).toEqual([
        1,
        expect.stringContaining('no command of the attempt was running'),
      ]);
    });
    expect(entries).toMatchObject([
      { kind: 'docker_intent', content: expect.stringMatching(/^unexplained: docker /), params: { unexplained: true } },
      { kind: 'docker_outcome', params: { status: 403 } },
    ]);
    expect(await lab.host('inspect', '--format', '{{.State.Status}}', mine)).toBe('running');
    expect((await left.docker('ps')).stderr).toContain('UnexplainedWrite');
  });
});
