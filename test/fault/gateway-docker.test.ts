// The docker door with the real docker command and a real dockerd: one project is open, and another
// must not be touched.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/audit/entry.ts';
import { PROJECT_LABEL } from '../../src/gateway/doors/docker/scope.ts';
import {
  type DockerHarness,
  type DockerSandbox,
  runDocker,
  SLEEPER,
  startDockerHarness,
} from '../support/docker-harness.ts';
import { eventually } from '../support/eventually.ts';

let lab: DockerHarness;
let sandbox: DockerSandbox;
/** Containers that sleep: one of the project, and one of another owner. */
let mine: string;
let foreign: string;

beforeAll(async () => {
  lab = await startDockerHarness();
  mine = await lab.run(lab.ours, `${lab.ours}-tikv0`, lab.image, ...SLEEPER);
  foreign = await lab.run(lab.theirs, `${lab.theirs}-bank`, lab.image.replace(':1', '-foreign:1'), ...SLEEPER);
  sandbox = await lab.sandbox('docker');
});
afterAll(async () => {
  await lab?.close();
});

const contents = (entries: Entry[]) => entries.map((entry) => `${entry.kind} ${entry.content}`);

/** A bare request to the sandbox's socket. */
async function bare(method: string, url: string, body?: string, headers: Record<string, string> = {}) {
  return await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request({ socketPath: sandbox.socketPath, method, path: url, headers, agent: false }, (answer) => {
      text(answer).then((all) => resolve({ status: answer.statusCode ?? 0, text: all }), reject);
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

describe('what the docker command sees', () => {
  it('is only the project', async () => {
    const entries = await lab.recorded(sandbox, async () => {
      expect((await sandbox.docker('ps', '-a', '--format', '{{.Names}}')).stdout.trim()).toBe(mine);
      expect((await sandbox.docker('network', 'ls', '--format', '{{.Name}}')).stdout.trim()).toBe(
        `${lab.ours}_default`,
      );
      expect((await sandbox.docker('volume', 'ls', '-q')).stdout.trim()).toBe(`${lab.ours}_data`);
      expect((await sandbox.docker('version')).code).toBe(0);
      expect((await sandbox.docker('info')).code).toBe(0);
      expect((await sandbox.docker('inspect', '--format', '{{.State.Status}}', mine)).stdout.trim()).toBe('running');
      expect((await sandbox.docker('logs', mine)).stdout).toContain('up');
      expect((await sandbox.docker('top', mine)).stdout).toContain('sleep');
      expect((await sandbox.docker('stats', '--no-stream', mine)).stdout).toContain(mine);
    });
    // Reads are counted, not recorded.
    expect(entries).toEqual([]);
  });

  it('does not include another project, by name, by id, or by the prefix of an id', async () => {
    const id = await lab.host('inspect', '--format', '{{.Id}}', foreign);
    for (const name of [foreign, id, id.slice(0, 12)]) {
      for (const command of [['inspect'], ['logs'], ['stop'], ['rm', '-f'], ['exec'], ['cp']]) {
        const rest = command[0] === 'exec' ? ['id'] : [];
        const args = command[0] === 'cp' ? ['cp', `${name}:/etc/passwd`, '-'] : [...command, name, ...rest];
        const refused = await sandbox.docker(...args);
        // `rm -f` treats a missing object as removed.
        expect(refused.stderr.toLowerCase(), args.join(' ')).toMatch(/no such (container|object)|could not find/);
      }
    }
    expect(await lab.host('inspect', '--format', '{{.State.Status}}', foreign)).toBe('running');
  });

  it('includes the images of the project', async () => {
    const images = (await sandbox.docker('images', '--format', '{{.Repository}}:{{.Tag}}')).stdout;
    expect(images).toContain(lab.image);
  });

  it('includes only the events of the project', async () => {
    const events = spawn('docker', ['events', '--format', '{{.Actor.Attributes.name}} {{.Action}}'], {
      env: { PATH: process.env.PATH, HOME: tmpdir(), DOCKER_HOST: `unix://${sandbox.socketPath}` },
    });
    let heard = '';
    events.stdout.on('data', (chunk) => {
      heard += chunk;
    });
    try {
      // The stream has begun when the first event arrives.
      await eventually(async () => {
        await lab.host('kill', '-s', 'CONT', mine);
        return heard.includes('kill') ? true : undefined;
      });
      await lab.host('kill', '-s', 'CONT', foreign);
      await lab.host('restart', '-t', '0', mine);
      await eventually(() => (heard.includes(`${mine} start`) ? true : undefined));
      expect(heard).not.toContain(foreign);
    } finally {
      events.kill();
    }
  });
});

describe('what it changes', () => {
  it('is recorded before and after: stop and start', async () => {
    const entries = await lab.recorded(sandbox, async () => {
      expect((await sandbox.docker('stop', '-t', '1', mine)).stderr).toBe('');
      expect(await lab.host('inspect', '--format', '{{.State.Status}}', mine)).toBe('exited');
      expect((await sandbox.docker('start', mine)).stdout.trim()).toBe(mine);
    });
    expect(await lab.host('inspect', '--format', '{{.State.Status}}', mine)).toBe('running');
    expect(contents(entries)).toEqual([
      `docker_intent docker stop --time 1 ${mine}`,
      `docker_outcome docker stop --time 1 ${mine}: 204`,
      `docker_intent docker start ${mine}`,
      `docker_outcome docker start ${mine}: 204`,
    ]);
    const [intent, outcome] = entries;
    expect(intent?.params).toMatchObject({ operation: 'container.stop', host: 'local', name: mine });
    expect(outcome?.params).toMatchObject({ intentSeq: intent?.seq, status: 204 });
  });

  it('counts as a change in the Incident’s status', async () => {
    const changes = await eventually(async () => (await lab.gateway.incident('docker')).status?.changes);
    expect(changes.last[0]).toMatchObject({ plane: 'docker', text: `docker stop --time 1 ${mine}` });
  });

  it('runs commands in a container: input, output, both streams, exit code', async () => {
    const entries = await lab.recorded(sandbox, async () => {
      const ran = await runDocker(
        sandbox.socketPath,
        ['exec', '-i', mine, 'sh', '-c', 'cat; echo err >&2; exit 7'],
        'hello\n',
      );
      expect(ran).toEqual({ code: 7, stdout: 'hello\n', stderr: 'err\n' });
    });
    expect(contents(entries).slice(0, 3)).toEqual([
      `docker_intent docker exec ${mine}: sh -c cat; echo err >&2; exit 7`,
      `docker_outcome docker exec ${mine}: sh -c cat; echo err >&2; exit 7: 201`,
      `docker_intent docker exec ${mine}, start: sh -c cat; echo err >&2; exit 7`,
    ]);
    const end = await eventually(async () =>
      (await lab.gateway.entries(sandbox.attempt)).find(({ kind, params }) => {
        const { operation, intentSeq } = Object(params);
        return kind === 'docker_outcome' && operation === 'exec.start' && intentSeq === entries[2]?.seq;
      }),
    );
    expect(end.params).toMatchObject({ status: 101, bytesIn: 6 });
  });

  it('transfers many bytes unchanged in both directions', async () => {
    const input = 'x'.repeat(8_000_000);
    const ran = await runDocker(
      sandbox.socketPath,
      ['exec', '-i', mine, 'sh', '-c', 'cat; head -c 30000000 /dev/zero'],
      input,
    );
    expect(ran.code).toBe(0);
    const digest = (value: string) => createHash('sha256').update(value).digest('hex');
    expect(digest(ran.stdout)).toBe(digest(input + '\0'.repeat(30_000_000)));
  });

  it('attaches to a container', async () => {
    const name = await lab.run(
      lab.ours,
      `${lab.ours}-echo`,
      '-i',
      lab.image,
      'sh',
      '-c',
      'read line; echo "got $line"',
    );
    const attached = spawn('docker', ['attach', name], {
      env: { PATH: process.env.PATH, HOME: tmpdir(), DOCKER_HOST: `unix://${sandbox.socketPath}` },
    });
    attached.stdin.write('a word\n');
    expect(await text(attached.stdout)).toBe('got a word\n');
  });

  it('answers an exec even if the client does not request an upgrade', async () => {
    const made = await bare(
      'POST',
      `/v1.41/containers/${mine}/exec`,
      JSON.stringify({ Cmd: ['echo', 'raw'], AttachStdout: true, Tty: true }),
    );
    const { Id } = JSON.parse(made.text);
    const answer = await bare('POST', `/v1.41/exec/${Id}/start`, JSON.stringify({ Detach: false, Tty: true }));
    expect(answer).toEqual({ status: 200, text: 'raw\r\n' });
  });

  it('copies in and out, and records what was copied in', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'oplab-cp-'));
    await writeFile(path.join(dir, 'note.toml'), 'key = "value"\n');
    const entries = await lab.recorded(sandbox, async () => {
      expect((await sandbox.docker('cp', path.join(dir, 'note.toml'), `${mine}:/tmp/`)).stderr).not.toContain('rror');
      expect((await sandbox.docker('cp', `${mine}:/tmp/note.toml`, path.join(dir, 'back.toml'))).code).toBe(0);
    });
    expect(await readFile(path.join(dir, 'back.toml'), 'utf8')).toBe('key = "value"\n');
    const copy = entries.find(({ params }) => Object(params).operation === 'container.copy-in');
    const shown = await lab.gateway.gateway.log.blob(copy?.blobDigest ?? '');
    expect(shown).toMatch(
      /^1 entry:\nnote.toml 14 bytes, mode 0644, owner \d+:\d+\n\ncontent of note.toml:\nkey = "value"/,
    );
    expect(entries.filter(({ params }) => Object(params).operation === 'container.copy-out').length).toBeGreaterThan(0);
  });

  it('creates containers that belong to the project', async () => {
    const name = `${lab.ours}-new`;
    const network = `${lab.ours}_default`;
    const run = await sandbox.docker(
      'run',
      '--name',
      name,
      '--network',
      network,
      '-v',
      `${lab.ours}_data:/data`,
      lab.image,
      'sh',
      '-c',
      'echo made > /data/x; cat /data/x',
    );
    expect(run).toMatchObject({ code: 0, stdout: 'made\n' });
    expect(await lab.host('inspect', '--format', `{{index .Config.Labels "${PROJECT_LABEL}"}}`, name)).toBe(lab.ours);
    const networks = await lab.host(
      'inspect',
      '--format',
      '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}',
      name,
    );
    expect(networks).toBe(network);
    expect((await sandbox.docker('rm', '-f', name)).stdout.trim()).toBe(name);
  });

  it.each<[string, string[]]>([
    ['docker.allowPrivileged', ['--privileged']],
    ['docker.allowPrivileged', ['--cap-add', 'SYS_ADMIN']],
    ['docker.allowPrivileged', ['--device', '/dev/kmsg']],
    ['docker.allowPrivileged', ['--security-opt', 'seccomp=unconfined']],
    ['docker.allowHostMounts', ['-v', '/:/host']],
    ['docker.allowHostMounts', ['--mount', 'type=bind,source=/var/run/docker.sock,target=/s']],
    ['docker.allowHostNamespaces', ['--pid', 'host']],
    ['docker.allowHostNamespaces', ['--network', 'host']],
    ['default network', []],
    ['No such container', ['--network', 'container:FOREIGN']],
    ['No such container', ['--volumes-from', 'FOREIGN', '--network', 'none']],
    ['No such network', ['--network', 'THEIRS_default']],
    ['No such volume', ['-v', 'THEIRS_data:/d', '--network', 'none']],
    ['No such volume', ['-v', 'unheard-of:/d', '--network', 'none']],
  ])('says %s to docker run %j', async (message, args) => {
    const written = args.map((arg) => arg.replace('FOREIGN', foreign).replace('THEIRS', lab.theirs));
    const network =
      args.includes('--network') || message === 'default network' ? [] : ['--network', `${lab.ours}_default`];
    const entries = await lab.recorded(sandbox, async () => {
      const refused = await sandbox.docker('run', '--rm', ...network, ...written, lab.image, 'id');
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toBe('');
      expect(refused.stderr).toContain(message);
    });
    // Nothing was forwarded, so there is no intent.
    expect(entries).toEqual([]);
  });

  it('gives no contents of a container that mounts the host, also in mode Diagnose', async () => {
    const name = await lab.run(lab.ours, `${lab.ours}-exporter`, '-v', '/:/rootfs:ro', lab.image, ...SLEEPER);
    const reading = await lab.sandbox('reading', {}, 'Diagnose');
    const [source, host] = [`${name}:/rootfs/etc/hostname`, await readFile('/etc/hostname', 'utf8')];
    // The host's own client shows what the door closes.
    expect(await lab.host('cp', source, '-')).toContain(host.trim());
    for (const box of [sandbox, reading]) {
      const refused = await box.docker('cp', source, '-');
      expect(refused.stdout).toBe('');
      expect(refused.stderr).toContain('docker.allowHostMounts');
      for (const command of ['top', 'diff'])
        expect((await box.docker(command, name)).stderr).toContain('OPLAB_NOT_ALLOWED');
      expect((await box.docker('logs', name)).stdout).toContain('up');
    }
    expect((await sandbox.docker('restart', '-t', '0', name)).code).toBe(0);
    // The container of the same project without such a mount stays open.
    expect((await reading.docker('cp', `${mine}:/etc/passwd`, '-')).code).toBe(0);
  });

  it('creates no network whose subnet becomes a route of the host', async () => {
    const wanted = ['--subnet', '198.51.100.0/24', '--gateway', '198.51.100.53'];
    const routes = async () => await readFile('/proc/net/fib_trie', 'utf8');
    const refused = await sandbox.docker('network', 'create', ...wanted, `${lab.ours}_route`);
    expect(refused.stderr).toMatch(/IPAM\.Config .*198\.51\.100\.0\/24.*docker\.allowHostNamespaces/);
    expect(await routes()).not.toContain('198.51.100.53');
    const label = ['--label', `${PROJECT_LABEL}=${lab.ours}`];
    await lab.host('network', 'create', ...label, ...wanted, `${lab.ours}_route`);
    // Without the door, the host has the address and the route. The owner may do so.
    expect(await routes()).toContain('198.51.100.53');
    const connect = async (address: string) =>
      await sandbox.docker('network', 'connect', '--ip', address, `${lab.ours}_route`, mine);
    expect((await connect('198.51.101.7')).stderr).toContain('is not in the subnet');
    expect((await connect('198.51.100.7')).code).toBe(0);
    expect((await sandbox.docker('network', 'disconnect', `${lab.ours}_route`, mine)).code).toBe(0);
    expect((await sandbox.docker('network', 'rm', `${lab.ours}_route`)).code).toBe(0);
    expect((await sandbox.docker('network', 'create', `${lab.ours}_plain`)).code).toBe(0);
    expect((await sandbox.docker('network', 'rm', `${lab.ours}_plain`)).code).toBe(0);
  });

  it('cannot write what a privileged container runs', async () => {
    const [volume, network] = [`${lab.ours}_data`, `${lab.ours}_default`];
    const name = await lab.run(
      lab.ours,
      `${lab.ours}-job`,
      '--privileged',
      '-v',
      `${volume}:/d:ro`,
      lab.image,
      ...SLEEPER,
    );
    const run = async (mode: string) =>
      await sandbox.docker('run', '--rm', '--network', network, '-v', `${volume}:/d${mode}`, lab.image, 'ls', '/d');
    expect((await run('')).stderr).toContain(`which container ${name} mounts`);
    expect((await run(':ro')).code).toBe(0);
    expect((await sandbox.docker('restart', '-t', '0', name)).code).toBe(0);
    const writer = await lab.run(lab.ours, `${lab.ours}-writer`, '-v', `${volume}:/d`, lab.image, ...SLEEPER);
    expect((await sandbox.docker('restart', '-t', '0', name)).stderr).toContain(`through container ${writer}`);
    expect((await sandbox.docker('rm', '-f', writer)).stderr).toContain(`which container ${name} mounts`);
    await lab.host('rm', '-f', name, writer);
  });

  it('does not run an image of another owner, and pulls nothing from elsewhere', async () => {
    const [foreignImage, network] = [lab.image.replace(':1', '-foreign:1'), `${lab.ours}_default`];
    // The same image is recognized by its id under another name. Another image is not.
    await lab.host('import', path.join(lab.tls, 'empty.tar'), `other-${lab.ours}:1`).catch(async () => {
      await writeFile(path.join(lab.tls, 'empty.tar'), Buffer.alloc(10_240));
      await lab.host('import', path.join(lab.tls, 'empty.tar'), `other-${lab.ours}:1`);
    });
    try {
      expect(
        (await sandbox.docker('run', '--rm', '--pull', 'never', '--network', network, `other-${lab.ours}:1`, 'x')).code,
      ).not.toBe(0);
      expect((await sandbox.docker('images', '-q', `other-${lab.ours}`)).stdout).toBe('');
    } finally {
      await lab.host('rmi', `other-${lab.ours}:1`);
    }
    const pulled = await sandbox.docker('pull', foreignImage);
    expect(pulled.stderr).toContain('OPLAB_NOT_ALLOWED');
  });

  it('cannot be circumvented by another spelling', async () => {
    const count = async () => (await lab.host('ps', '-aq')).split('\n').length;
    const before = await count();
    const inside = { Image: lab.image, Cmd: ['id'] };
    for (const [body, headers] of [
      [{ ...inside, hostconfig: { Privileged: true } }, {}],
      [{ ...inside, HostConfig: { privileged: true, NetworkMode: 'none' } }, {}],
      [{ ...inside, Privileged: true, HostConfig: { NetworkMode: 'none' } }, {}],
      [{ ...inside, HostConfig: { Binds: ['/:/host'], NetworkMode: 'none' } }, { 'transfer-encoding': 'chunked' }],
    ] as const) {
      expect(
        (await bare('POST', '/v1.41/containers/create', JSON.stringify(body), headers)).status,
      ).toBeGreaterThanOrEqual(400);
    }
    for (const [method, url] of [
      ['GET', `/v1.41/containers/../containers/${foreign}/json`],
      ['GET', `/v1.41/containers/${mine}%2F..%2F${foreign}/json`],
      ['POST', `/v1.23/containers/${mine}/start`],
      ['POST', '/v1.41/swarm/init'],
      ['GET', '/v1.41/images/get?names=x'],
      ['GET', '/v1.41/containers/json?filters={}&filters={"label":{}}'],
      ['POST', '/v1.41/build?remote=http://127.0.0.1/'],
      ['POST', '/v1.41/containers/prune'],
    ]) {
      const answer = await bare(method ?? '', url ?? '');
      expect([400, 403], `${method} ${url}`).toContain(answer.status);
      expect(JSON.parse(answer.text).message).toContain('OPLAB_');
    }
    expect(await count()).toBe(before);
  });
});
