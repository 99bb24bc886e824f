// Attacks from inside a real sandbox, by the agent's own shell. Whether one succeeded is judged from
// outside: by what an admin sees in the cluster, and by what the audit log shows. Where a wall can
// be taken away, the same attack is made again without it, and must then succeed.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeContainer } from '../../hack/cluster/names.ts';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { fullTrail, runAttacks, type ShownEntry, shownTrail } from '../support/attack-run.ts';
import { type As, type DirectAnswer, type DirectRequest, directClient } from '../support/direct-request.ts';
import { eventually } from '../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness, pod } from '../support/operator-harness.ts';
import { removePolicies } from '../support/removed-policies.ts';
import { bodyAttacks } from './attacks/bodies.ts';
import { cloaks, escapes, oldRedaction } from './attacks/cloaks.ts';
import { doorTricks } from './attacks/door-tricks.ts';
import { fireCommand, readShots } from './attacks/fire.ts';
import { identityAttacks } from './attacks/identity.ts';
import { type NetworkFacts, networkTargets, probeCommand, readProbes } from './attacks/network.ts';
import type { Place, RequestAttack } from './attacks/request.ts';
import { commandAttacks, type Tokens } from './attacks/sandbox.ts';

const WAY = "the agent's shell tool in its sandbox";
const INCIDENT = 'attacks';
const requests: readonly RequestAttack[] = [...identityAttacks, ...doorTricks, ...bodyAttacks];
const ids = requests.map((_, index) => `attack-${index}`);
const answering = ['node', '-e', "require('http').createServer((q, s) => s.end('reached')).listen(8080)"];

const names: readonly [string, string][] = [
  ...requests.map(({ family, name }): [string, string] => [family, name]),
  ...commandAttacks.map(({ family, name }): [string, string] => [family, name]),
  ...networkTargets.map(({ name }): [string, string] => ['network', name]),
  ...cloaks.map(({ name }): [string, string] => ['cloaks', name]),
  ...escapes.map(({ name }): [string, string] => ['terminal escapes', name]),
];

describe('an attack from the sandbox', () => {
  let lab: OperatorHarness;
  const bystander = 'lab-attacked';
  const rows = new Map<string, AttackRow>();
  const report = (row: Omit<AttackRow, 'way'>) => rows.set(`${row.family}/${row.name}`, { ...row, way: WAY });

  beforeAll(async () => {
    lab = await openOperatorHarness();
    const { namespace } = lab;
    await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: bystander } });
    await apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'canary', namespace: bystander },
      stringData: { a: 'canary' },
    });
    for (const name of ['powerful', 'stranger'])
      await apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
    await apply(pod('web', bystander, answering));
    await apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: bystander },
      spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    await kubectl('-n', bystander, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
    const place: Place = { namespace, bystander, node: nodeContainer };
    const facts = await networkFacts(bystander);
    const direct = await directClient();

    const shots = { with: new Map<string, string>() };
    const withoutWall = new Map<string, DirectAnswer>();
    const printed = { commands: [''], commandsWithout: [''], probes: '', probesWithout: '', left: '' };
    let tokens: Tokens | undefined;
    await runAttacks(lab, INCIDENT, async (run) => {
      const agentPod = await lab.agentPod(INCIDENT);
      const made = await makeTokens(agentPod, namespace);
      tokens = made;
      const volleys = [identityAttacks, [...doorTricks, ...bodyAttacks]].map((volley) =>
        fireCommand(
          volley.map((attack) => {
            const id = ids[requests.indexOf(attack)] ?? '';
            return { id, raw: attack.raw(place, id) };
          }),
        ),
      );
      shots.with = readShots((await run(volleys)).join('\n'));
      printed.commands = await run(commandAttacks.map(({ command }) => command(made)));
      printed.left = (
        await child('kubectl', [
          ...['-n', 'oplab-agents', 'exec', agentPod, '-c', 'sandbox', '--'],
          ...['sh', '-c', "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"],
        ])
      ).stdout;
      await run([
        ...cloaks.map(({ command }, index) => command(`${index}-`)),
        ...escapes.map(({ command }) => command),
      ]);
      [printed.probes = ''] = await run([probeCommand(facts)]);

      // Now without the walls.
      printed.commandsWithout = await run(commandAttacks.map(({ withoutWall: attack }) => attack?.(made) ?? 'true'));
      const restore = [
        await removePolicies('validatingadmissionpolicybindings', /^oplab-agent-/),
        await removePolicies('networkpolicies', /./, 'oplab-agents'),
      ];
      try {
        const user = `system:serviceaccount:oplab-agents:${agentPod}`;
        const groups = ['system:serviceaccounts', 'system:serviceaccounts:oplab-agents', 'system:authenticated'];
        const as = (rights: RequestAttack['rights']): As => ({
          user,
          groups: rights === 'any' ? [...groups, 'system:masters'] : groups,
        });
        const send = (wanted: DirectRequest, rights: RequestAttack['rights']) => direct(wanted, as(rights));
        const [first] = identityAttacks;
        await eventually(
          async () => {
            const wanted = first?.direct?.(place, 'attack-0');
            return wanted !== undefined && (await send(wanted, first?.rights)).status < 300;
          },
          { what: 'the admission policies to be without effect', everyMs: 300 },
        );
        for (const [index, attack] of requests.entries()) {
          const id = ids[index] ?? '';
          const wanted = attack.direct?.(place, id);
          if (wanted !== undefined) withoutWall.set(id, await send(wanted, attack.rights));
        }
        [printed.probesWithout = ''] = await run([probeCommand(facts)]);
      } finally {
        for (const put of restore) await put();
      }
    });

    const entries = await fullTrail(namespace, INCIDENT);
    for (const [index, attack] of requests.entries()) {
      const id = ids[index] ?? '';
      const exists =
        attack.plants !== undefined && (await direct({ method: 'GET', path: attack.plants(place, id) })).status === 200;
      const named = exists ? '' : await generatedName(namespace, id);
      const { outcomes, trace, isRecorded } = findTrace(entries, id, named);
      const answered = shots.with.get(id) ?? 'not sent';
      const isPower = attack.family === 'powers' && /^2|^101/.test(answered);
      const planted = (exists || named !== '') && !(attack.onlyUnrecorded === true && isRecorded);
      const bare = withoutWall.get(id);
      report({
        family: attack.family,
        name: attack.name,
        expected: attack.expected,
        seen: `${answered}${planted ? '; planted' : exists ? '; made and recorded' : ''}${bare === undefined ? '' : `; without the wall: ${bare.status}`}`,
        succeeded: planted || isPower || outcomes.includes(101) || answered === 'not sent',
        succeedsWithoutWall: bare !== undefined && bare.status < 300,
        trace,
      });
    }
    for (const [index, attack] of commandAttacks.entries()) {
      const said = printed.commands[index] ?? '';
      const without = printed.commandsWithout[index] ?? '';
      const forged = entries.some(({ clientKey }) => clientKey.startsWith('forged'));
      const call = tokens === undefined ? undefined : findCall(entries, said, index);
      const left = attack.leaves?.test(printed.left) ?? false;
      report({
        family: attack.family,
        name: attack.name,
        expected: attack.expected,
        seen: said.slice(0, 300),
        succeeded:
          said === '' || (attack.success?.test(said) ?? false) || left || (attack.family === 'audit door' && forged),
        succeedsWithoutWall: attack.withoutWall !== undefined && (attack.success?.test(without) ?? false),
        trace: call ?? 'none',
      });
    }
    const [before, after] = [readProbes(printed.probes), readProbes(printed.probesWithout)];
    for (const [index, { name }] of networkTargets.entries())
      report({
        family: 'network',
        name,
        expected: 'closed',
        seen: before[index] === undefined ? 'not tried' : before[index] ? 'open' : 'closed',
        succeeded: before[index] !== false,
        succeedsWithoutWall: after[index] === true,
        trace: 'the command, as a tool_call',
      });
    const commands = entries
      .filter(({ kind, tool }) => kind === 'tool_call' && tool === 'shell')
      .map((entry) => ({ ...entry, command: String(Object(entry.params).command) }));
    for (const [index, { name, command, implant }] of cloaks.entries()) {
      const found = commands.find((entry) => entry.command.includes(implant(`${index}-`)));
      report({
        family: 'cloaks',
        name,
        expected: 'the whole command is on record',
        seen: found?.command ?? 'no tool_call shows the command',
        succeeded: found === undefined,
        succeedsWithoutWall: !oldRedaction(command(`${index}-`)).includes(implant(`${index}-`)),
        trace: found === undefined ? 'none' : `tool_call ${found.seq}`,
      });
    }
    const screen = await shownTrail(namespace, INCIDENT);
    for (const { name, text } of escapes) {
      const found = commands.find((entry) => entry.command.includes(text));
      report({
        family: 'terminal escapes',
        name,
        expected: '`oplab audit show` prints no control character',
        seen: screen.includes(text) ? 'printed as it is' : 'made harmless',
        succeeded: screen === '' || screen.includes(text) || CONTROLS.test(screen),
        // Printed as it was recorded, it would act.
        succeedsWithoutWall: found !== undefined,
        trace: found === undefined ? 'none' : `tool_call ${found.seq}`,
      });
    }
    await reportAttacks([...rows.values()]);
  }, 540_000);

  afterAll(async () => {
    await lab?.close();
    await tryKubectl('delete', 'namespace', bystander, '--wait=false');
  });

  it.each(names)('%s: %s fails', (family, name) => {
    const row = rows.get(`${family}/${name}`);
    expect(row, 'the attack was not run').toBeDefined();
    expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
  });

  it('leaves gateway and controller running', async () => {
    const restarts = await kubectl(
      ...['-n', 'oplab-system', 'get', 'pods', '-o'],
      'jsonpath={range .items[*]}{.status.containerStatuses[*].restartCount} {end}',
    );
    expect(restarts.trim().split(/\s+/)).toEqual(['0', '0']);
  });
});

/** Control characters but tab and line break, and those that turn the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

/** The object that the API server named after the attack, if there is one. */
async function generatedName(namespace: string, id: string): Promise<string> {
  const all = await kubectl('-n', namespace, 'get', 'configmaps', '-o', 'name');
  return (
    all
      .split('\n')
      .find((name) => name.startsWith(`configmap/${id}-`))
      ?.replace('configmap/', '') ?? ''
  );
}

/** What the gateway recorded of the requests of an attack, which it knows by their user agent. */
function findTrace(entries: readonly ShownEntry[], id: string, generated: string) {
  const intents = entries.filter(({ kind, params }) => kind === 'kube_intent' && Object(params).userAgent === id);
  const outcomes = entries.filter(
    ({ kind, params }) => kind === 'kube_outcome' && intents.some(({ seq }) => seq === Object(params).intentSeq),
  );
  const name = generated === '' ? id : generated;
  return {
    outcomes: outcomes.map(({ params }) => Number(Object(params).status)),
    isRecorded:
      intents.some(({ blob }) => blob?.includes('implant') && blob.includes(id)) &&
      outcomes.some(({ content }) => content.includes(name)),
    trace:
      intents.length === 0
        ? 'the command, as a tool_call; refused before it was a request'
        : [...intents, ...outcomes].map(({ kind, seq }) => `${kind} ${seq}`).join(', '),
  };
}

/** The entry of the command at this place among those of the family. */
function findCall(entries: readonly ShownEntry[], said: string, index: number): string {
  const calls = entries.filter(({ kind, tool }) => kind === 'tool_call' && tool === 'shell');
  const call = calls[index + 2];
  return call === undefined || said === '' ? 'none' : `tool_call ${call.seq}`;
}

/** Tokens that an admin makes: real ones, for another door or by another account. */
async function makeTokens(agentPod: string, namespace: string): Promise<Tokens> {
  const uid = await kubectl('-n', 'oplab-agents', 'get', 'pod', agentPod, '-o', 'jsonpath={.metadata.uid}');
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${agentPod}`, `--bound-object-uid=${uid}`];
  const token = (place: string, account: string, ...more: string[]) =>
    kubectl('-n', place, 'create', 'token', account, '--duration=10m', ...more);
  return {
    agent: await token('oplab-agents', agentPod, '--audience=oplab-agent', ...bound),
    apiServer: await token('oplab-agents', agentPod, ...bound),
    unbound: await token('oplab-agents', agentPod, '--audience=oplab-sandbox'),
    stranger: await token(namespace, 'stranger', '--audience=oplab-sandbox'),
  };
}

async function networkFacts(bystander: string): Promise<NetworkFacts> {
  const podIp = (namespace: string, selector: string) =>
    kubectl('-n', namespace, 'get', 'pods', '-l', selector, '-o', 'jsonpath={.items[0].status.podIP}');
  const service = (namespace: string, name: string, path: string) =>
    kubectl('-n', namespace, 'get', 'service', name, '-o', `jsonpath={${path}}`);
  const nodePath = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  const gateways = await child('docker', [
    ...['network', 'inspect', 'kind', '-f'],
    '{{range .IPAM.Config}}{{.Gateway}} {{end}}',
  ]);
  return {
    node: await kubectl('get', 'nodes', '-o', nodePath),
    apiServer: await service('default', 'kubernetes', '.spec.clusterIP'),
    bystanderPod: await podIp(bystander, 'app=web'),
    bystanderService: await service(bystander, 'web', '.spec.clusterIP'),
    bystanderNodePort: await service(bystander, 'web', '.spec.ports[0].nodePort'),
    gatewayPod: await podIp('oplab-system', 'app.kubernetes.io/component=gateway'),
    controllerPod: await podIp('oplab-system', 'app.kubernetes.io/component=controller'),
    dnsPod: await podIp('kube-system', 'k8s-app=kube-dns'),
    host: gateways.stdout.split(/\s+/).find((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address)) ?? '',
  };
}
