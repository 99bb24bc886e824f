// Runs all attacks in one Incident: first with every wall, then some of them without. Returns what
// was seen, for judge.ts.

import { nodeContainer } from '../../../hack/cluster/names.ts';
import { fullTrail, type RunCommands, runAttacks, type ShownEntry, shownTrail } from '../../support/attack-run.ts';
import { type As, type DirectAnswer, directClient } from '../../support/direct-request.ts';
import { eventually } from '../../support/eventually.ts';
import { apply, child, kubectl, tryKubectl } from '../../support/live.ts';
import { type OperatorHarness, pod } from '../../support/operator-harness.ts';
import { removePolicies } from '../../support/removed-policies.ts';
import { bodyAttacks } from './bodies.ts';
import { cloaks, escapes } from './cloaks.ts';
import { doorTricks } from './door-tricks.ts';
import { fireCommand, readShots } from './fire.ts';
import { hangUpCommand } from './hang-ups.ts';
import { identityAttacks } from './identity.ts';
import { type NetworkFacts, probeCommand, readProbes } from './network.ts';
import type { Place, RequestAttack } from './request.ts';
import { commandAttacks, type Tokens } from './sandbox.ts';
import { workloadAttacks } from './workloads.ts';

const INCIDENT = 'attacks';
export const BYSTANDER = 'lab-attacked';
/** A role that lets the attempt's account impersonate everybody. */
const IMPERSONATOR = 'lab-impersonator';

/** All attacks that are one request, each with the name by which the audit log knows it. */
export const requestAttacks: readonly (RequestAttack & { readonly id: string })[] = [
  ...workloadAttacks,
  ...identityAttacks,
  ...doorTricks,
  ...bodyAttacks,
].map((attack, index) => ({ ...attack, id: `attack-${index}-` }));
/** Requests of one command: a command has at most 64 KiB. */
const VOLLEY = 60;

export interface Evidence {
  readonly entries: readonly ShownEntry[];
  /** The audit log as a person sees it. */
  readonly screen: string;
  /** The status codes that each request was answered with. */
  readonly shots: ReadonlyMap<string, string>;
  /** The answer to the same request, sent straight to the API server. */
  readonly direct: ReadonlyMap<string, DirectAnswer>;
  /** For each request that tries to make an object: what an admin found afterwards. */
  readonly planted: ReadonlyMap<string, string>;
  /** The ConfigMaps in the target namespace afterwards. */
  readonly configMaps: readonly string[];
  /** What the command printed that hangs up. */
  readonly hungUp: string;
  /** What the commands printed. */
  readonly printed: readonly string[];
  readonly printedWithoutWall: readonly string[];
  /** The command lines in the sandbox after the commands had ended. */
  readonly left: string;
  readonly leftWithoutWall: string;
  readonly open: readonly (boolean | undefined)[];
  readonly openWithoutWall: readonly (boolean | undefined)[];
}

/** Makes the objects that are attacked. */
async function prepare(namespace: string): Promise<void> {
  const answering = ['node', '-e', "require('http').createServer((q, s) => s.end('reached')).listen(8080)"];
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: BYSTANDER } });
  const canary = { name: 'canary', namespace: BYSTANDER };
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata: canary, stringData: { a: 'canary' } });
  for (const name of ['powerful', 'stranger']) {
    await apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
  }
  await apply(pod('web', BYSTANDER, answering));
  await apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: BYSTANDER },
    spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  await tryKubectl('delete', 'clusterrolebinding', IMPERSONATOR);
  await apply({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: IMPERSONATOR },
    rules: [
      { apiGroups: [''], resources: ['users', 'groups'], verbs: ['impersonate'] },
      { apiGroups: ['authentication.k8s.io'], resources: ['*'], verbs: ['impersonate'] },
    ],
  });
  await kubectl('-n', BYSTANDER, 'wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
}

/** Deletes what the campaign has made outside the harness's namespace. */
export async function cleanUp(): Promise<void> {
  await tryKubectl('delete', 'namespace', BYSTANDER, '--wait=false');
  await tryKubectl('delete', 'clusterrolebinding,clusterrole', IMPERSONATOR);
}

/** Runs everything. */
export async function runCampaign(lab: OperatorHarness): Promise<Evidence> {
  const { namespace } = lab;
  await prepare(namespace);
  const place: Place = { namespace, bystander: BYSTANDER, node: nodeContainer };
  const facts = await networkFacts();
  const send = await directClient();
  let walled: Awaited<ReturnType<typeof withWalls>> | undefined;
  let bare: Awaited<ReturnType<typeof withoutWalls>> | undefined;
  await runAttacks(lab, INCIDENT, async (run) => {
    const agentPod = await lab.agentPod(INCIDENT);
    const tokens = await makeTokens(agentPod, namespace);
    const account = `--serviceaccount=oplab-agents:${agentPod}`;
    await kubectl('create', 'clusterrolebinding', IMPERSONATOR, `--clusterrole=${IMPERSONATOR}`, account);
    const scene: Scene = { run, agentPod, tokens, place, facts, send };
    walled = await withWalls(scene);
    bare = await withoutWalls(scene);
  });
  if (walled === undefined || bare === undefined) throw new Error('the attacks have not run');
  const listed = (await kubectl('-n', namespace, 'get', 'configmaps', '-o', 'name')).split('\n');
  const configMaps = listed.map((name) => name.replace('configmap/', ''));
  const planted = new Map<string, string>();
  for (const { id, plants } of requestAttacks) {
    if (plants === undefined) continue;
    const path = plants(place, objectName(id));
    const answer = await send({ method: 'GET', path });
    // A name that the API server made begins with the attack's.
    const made = configMaps.find((name) => name.startsWith(`${id}x-`));
    if (answer.status === 200) planted.set(id, objectName(id));
    else if (made !== undefined) planted.set(id, made);
  }
  const entries = await fullTrail(namespace, INCIDENT);
  return { entries, screen: await shownTrail(namespace, INCIDENT), planted, configMaps, ...walled, ...bare };
}

interface Scene {
  readonly run: RunCommands;
  readonly agentPod: string;
  readonly tokens: Tokens;
  readonly place: Place;
  readonly facts: NetworkFacts;
  readonly send: Awaited<ReturnType<typeof directClient>>;
}

/** The name of an attack's object. No name of another attack begins with it. */
const objectName = (id: string): string => `${id}x`;

async function withWalls({ run, agentPod, tokens, place, facts }: Scene) {
  const volleys: string[] = [];
  for (let at = 0; at < requestAttacks.length; at += VOLLEY) {
    const requests = requestAttacks.slice(at, at + VOLLEY);
    volleys.push(fireCommand(requests.map(({ id, raw }) => ({ id, raw: raw(place, objectName(id)) }))));
  }
  const shots = readShots((await run(volleys)).join('\n'));
  const [hungUp = ''] = await run([hangUpCommand(place.namespace)]);
  const printed = await run(commandAttacks.map(({ command }) => command(tokens)));
  const left = await inSandbox(agentPod, COMMAND_LINES);
  await run([...cloaks.map(({ command }, index) => command(`${index}-`)), ...escapes.map(({ command }) => command)]);
  const [probes = ''] = await run([probeCommand(facts)]);
  return { shots, hungUp, printed, left, open: readProbes(probes) };
}

async function withoutWalls({ run, agentPod, tokens, place, facts, send }: Scene) {
  const printedWithoutWall = await run(commandAttacks.map(({ withoutWall }) => withoutWall?.(tokens) ?? 'true'));
  // A command that is no child of the shell server is not killed.
  for (const { leaves, command } of commandAttacks) {
    if (leaves !== undefined) await inSandbox(agentPod, `(${command(tokens)}) >/dev/null 2>&1 </dev/null`);
  }
  const leftWithoutWall = await inSandbox(agentPod, COMMAND_LINES);
  const as = (rights: RequestAttack['rights']): As => {
    if (rights === 'token') return { token: tokens.apiServer };
    const own = ['system:serviceaccounts', 'system:serviceaccounts:oplab-agents', 'system:authenticated'];
    return {
      user: `system:serviceaccount:oplab-agents:${agentPod}`,
      groups: rights === 'any' ? [...own, 'system:masters'] : own,
    };
  };
  const sendBare = async ({ direct, rights }: RequestAttack, id: string) => {
    const wanted = direct?.(place, id);
    return wanted === undefined ? undefined : await send(wanted, as(rights));
  };
  const [canary] = workloadAttacks;
  const untilAnswered = (status: number, what: string) =>
    eventually(async () => canary !== undefined && (await sendBare(canary, 'canary'))?.status === status, {
      what,
      everyMs: 300,
    });
  const restore = [
    await removePolicies('validatingadmissionpolicybindings', /^oplab-agent-/),
    await removePolicies('networkpolicies', /./, 'oplab-agents'),
  ];
  const direct = new Map<string, DirectAnswer>();
  let probes = '';
  try {
    await untilAnswered(201, 'the admission policies to be without effect');
    for (const attack of requestAttacks) {
      const answer = await sendBare(attack, `${attack.id}direct`);
      if (answer !== undefined) direct.set(attack.id, answer);
    }
    [probes = ''] = await run([probeCommand(facts)]);
  } finally {
    for (const put of restore) await put();
  }
  await untilAnswered(403, 'the admission policies to be in force again');
  return { printedWithoutWall, leftWithoutWall, direct, openWithoutWall: readProbes(probes) };
}

const COMMAND_LINES = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";

/** Runs a command in the sandbox's container as an admin, past the agent. */
async function inSandbox(agentPod: string, command: string): Promise<string> {
  const place = ['-n', 'oplab-agents', 'exec', agentPod, '-c', 'sandbox', '--'];
  return (await child('kubectl', [...place, 'bash', '-c', command], { allowFailure: true })).stdout;
}

/** Tokens that an admin makes: real ones, for another door or of another account. */
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

async function networkFacts(): Promise<NetworkFacts> {
  const podIp = (namespace: string, selector: string) =>
    kubectl('-n', namespace, 'get', 'pods', '-l', selector, '-o', 'jsonpath={.items[0].status.podIP}');
  const service = (namespace: string, name: string, path: string) =>
    kubectl('-n', namespace, 'get', 'service', name, '-o', `jsonpath={${path}}`);
  const nodePath = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  const gatewayFormat = '{{range .IPAM.Config}}{{.Gateway}} {{end}}';
  const gateways = await child('docker', ['network', 'inspect', 'kind', '-f', gatewayFormat]);
  return {
    node: await kubectl('get', 'nodes', '-o', nodePath),
    apiServer: await service('default', 'kubernetes', '.spec.clusterIP'),
    bystanderPod: await podIp(BYSTANDER, 'app=web'),
    bystanderService: await service(BYSTANDER, 'web', '.spec.clusterIP'),
    bystanderNodePort: await service(BYSTANDER, 'web', '.spec.ports[0].nodePort'),
    gatewayPod: await podIp('oplab-system', 'app.kubernetes.io/component=gateway'),
    controllerPod: await podIp('oplab-system', 'app.kubernetes.io/component=controller'),
    dnsPod: await podIp('kube-system', 'k8s-app=kube-dns'),
    host: gateways.stdout.split(/\s+/).find((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address)) ?? '',
  };
}
