// Attacks through the docker door, from a real sandbox on a real dockerd. Each is made again with
// the host's own socket: without the door, it must succeed.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dockerSocketInNode } from '../../hack/cluster/kind-config.ts';
import { ensureRoot } from '../../hack/toolchain/debian.ts';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { fullTrail, runAttacks, type ShownEntry } from '../support/attack-run.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { type DockerAttack, type DockerPlace, dockerAttacks, SECRET_OF_NEIGHBOUR } from './attacks/docker.ts';

const CLASS = 'lab-docker';
const run = randomBytes(3).toString('hex');
/** Everything that is made on the host has one of the two labels. */
const labels = {
  ours: ['--label', `com.docker.compose.project=lab-${run}`],
  theirs: ['--label', `com.docker.compose.project=bank-${run}`],
};
const place = {
  project: `lab-${run}`,
  image: `oplab-lab-${run}:1`,
  own: `lab-${run}-tikv0`,
  foreign: `bank-${run}-ledger`,
  foreignVolume: `bank-${run}_data`,
  foreignNetwork: `bank-${run}_default`,
  foreignImage: `oplab-bank-${run}:1`,
} satisfies Omit<DockerPlace, 'foreignId'>;
const LEDGER = `echo ${SECRET_OF_NEIGHBOUR} | tee /tmp/ledger; trap exit TERM; while :; do echo ${SECRET_OF_NEIGHBOUR}; sleep 0.5; done`;

/** Docker with the host's own socket. */
const docker = async (...args: string[]) => (await child('docker', args)).stdout.trim();
const tryDocker = (...args: string[]) => child('docker', args, { allowFailure: true });

/** Makes the foreign container anew, as an attack may have changed it. @returns its id */
async function makeForeign(): Promise<string> {
  const names = (await docker('ps', '-aq', '--filter', `label=${labels.theirs[1]}`)).split('\n').filter(Boolean);
  if (names.length > 0) await docker('rm', '-fv', ...names);
  const volume = ['-v', `${place.foreignVolume}:/data`];
  const network = ['--network', place.foreignNetwork, '-e', `SECRET=${SECRET_OF_NEIGHBOUR}`];
  await docker(
    ...['run', '-d', '--name', place.foreign, ...labels.theirs, ...network, ...volume],
    ...['--ipc', 'shareable', place.foreignImage, 'bash', '-c', LEDGER],
  );
  return await docker('inspect', '-f', '{{.Id}}', place.foreign);
}

/** What an attack on the foreign container may change, as an admin sees it. */
const stateOf = async (id: string) =>
  (
    await tryDocker(
      'inspect',
      '-f',
      '{{.Name}} {{.State.Status}} {{.State.StartedAt}} {{.HostConfig.Memory}} {{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}',
      id,
    )
  ).stdout.trim();

/** Whether there is an object with the attack's name. */
async function isMade(sign: DockerAttack['sign'], id: string): Promise<boolean> {
  if (sign === 'printed' || sign === 'state') return false;
  return (await tryDocker(sign, 'inspect', id)).code === 0;
}

async function removeMade(): Promise<void> {
  for (const { sign, id } of dockerAttacks) {
    if (sign === 'container') await tryDocker('rm', '-fv', id);
    else if (sign !== 'printed' && sign !== 'state') await tryDocker(sign, 'rm', id);
  }
}

interface Seen {
  readonly command: string;
  readonly printed: string;
  readonly happened: boolean;
}

/** Makes all attacks and looks at what they have done; those on the foreign container one by one. */
async function makeAttacks(run: (commands: readonly string[]) => Promise<string[]>): Promise<Map<string, Seen>> {
  const seen = new Map<string, Seen>();
  let foreignId = await makeForeign();
  const together = dockerAttacks.filter(({ sign }) => sign !== 'state');
  const commands = together.map(({ command, id }) => command({ ...place, foreignId }, id));
  const printed = await run(commands);
  for (const [index, { id, sign }] of together.entries()) {
    const said = printed[index] ?? '';
    const happened = sign === 'printed' ? said.includes(SECRET_OF_NEIGHBOUR) : await isMade(sign, id);
    seen.set(id, { command: commands[index] ?? '', printed: said, happened });
  }
  for (const attack of dockerAttacks.filter(({ sign }) => sign === 'state')) {
    const before = await stateOf(foreignId);
    const command = attack.command({ ...place, foreignId }, attack.id);
    const [said = ''] = await run([command]);
    const happened = (await stateOf(foreignId)) !== before;
    seen.set(attack.id, { command, printed: said, happened });
    if (happened) foreignId = await makeForeign();
  }
  await removeMade();
  return seen;
}

function traceOf(entries: readonly ShownEntry[], command: string | undefined): string {
  const call = entries.find(({ kind, params }) => kind === 'tool_call' && Object(params).command === command);
  return call === undefined ? 'none' : `tool_call ${call.seq}`;
}

describe('an attack through the docker door', () => {
  let lab: OperatorHarness;
  const rows = new Map<string, AttackRow>();

  beforeAll(async () => {
    const root = await ensureRoot('oplab-base');
    await docker('import', root.file, place.image);
    await docker('import', '--change', `LABEL lab=${SECRET_OF_NEIGHBOUR}`, root.file, place.foreignImage);
    await docker('network', 'create', ...labels.ours, `${place.project}_default`);
    await docker('network', 'create', ...labels.theirs, place.foreignNetwork);
    await docker('volume', 'create', ...labels.theirs, place.foreignVolume);
    const network = ['--network', `${place.project}_default`];
    await docker('run', '-d', '--name', place.own, ...labels.ours, ...network, place.image, 'sleep', '3600');
    lab = await openOperatorHarness({
      'docker.endpoints[0].name': 'local',
      'docker.endpoints[0].socket': 'true',
      'docker.socket.hostPath': dockerSocketInNode,
    });
    await kubectl('-n', 'oplab-docker', 'rollout', 'status', 'deployment/oplab-docker-socket', '--timeout=120s');
    const { spec } = JSON.parse(await kubectl('get', 'agentclass', 'default', '-o', 'json'));
    await apply({
      apiVersion: 'oplab.dev/v1alpha1',
      kind: 'AgentClass',
      metadata: { name: CLASS },
      spec: { ...spec, docker: { endpoint: 'local', composeProject: place.project } },
    });

    let walled = new Map<string, Seen>();
    let control = '';
    await runAttacks(
      lab,
      'docker',
      async (shell) => {
        // Whoever reaches no dockerd at all proves nothing.
        control = (await shell([`docker exec ${place.own} echo reached-the-project`])).join('');
        walled = await makeAttacks(shell);
      },
      { agentClassName: CLASS, limits: { attempts: 1, timeoutSeconds: 600, maxTurns: 50 } },
    );
    expect(control).toContain('reached-the-project');
    const bare = await makeAttacks(async (commands) => {
      const printed: string[] = [];
      for (const command of commands) {
        const { stdout, stderr } = await child('bash', ['-c', command], { allowFailure: true });
        printed.push(stdout + stderr);
      }
      return printed;
    });
    const entries = await fullTrail(lab.namespace, 'docker');
    for (const { id, family, name } of dockerAttacks) {
      const found = walled.get(id);
      rows.set(id, {
        name,
        family,
        way: "the docker command in the agent's sandbox",
        expected:
          family === 'docker host' ? 'refused; nothing is made' : 'not found; nothing of it is shown or changed',
        seen: found?.printed.slice(0, 300) ?? 'not made',
        succeeded: found === undefined || found.happened,
        succeedsWithoutWall: bare.get(id)?.happened === true,
        trace: traceOf(entries, found?.command),
      });
    }
    await reportAttacks([...rows.values()]);
  }, 540_000);

  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'agentclass', CLASS);
    await removeMade();
    for (const [, label] of Object.values(labels)) {
      const containers = (await tryDocker('ps', '-aq', '--filter', `label=${label}`)).stdout
        .split('\n')
        .filter(Boolean);
      if (containers.length > 0) await tryDocker('rm', '-fv', ...containers);
      for (const kind of ['network', 'volume']) {
        const objects = (await tryDocker(kind, 'ls', '-q', '--filter', `label=${label}`)).stdout.split('\n');
        for (const object of objects.filter(Boolean)) await tryDocker(kind, 'rm', object);
      }
    }
    await tryDocker('rmi', '-f', place.image, place.foreignImage);
  }, 120_000);

  it.each(dockerAttacks.map(({ family, name, id }): [string, string, string] => [family, name, id]))(
    '%s: %s fails',
    (_family, _name, id) => {
      const row = rows.get(id);
      expect(row, 'the attack was not made').toBeDefined();
      expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
    },
  );

  it.each(dockerAttacks.filter(({ refusedByDockerd }) => refusedByDockerd !== true))(
    '$name: it would succeed without the door',
    ({ id }) => expect(rows.get(id)?.succeedsWithoutWall, id).toBe(true),
  );
});
