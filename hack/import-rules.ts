// The table of which folder may import which; `npm run generate` writes it as rules for Biome.

/** What one folder may import, besides itself. */
interface Room {
  /** Paths below `src/`: a folder or one file. */
  readonly imports: readonly string[];
  /** The other sides of its protocols, which its tests use. */
  readonly inTests?: readonly string[];
  /** Where code belongs that seems to need more imports. */
  readonly instead: string;
}

const rootFiles = ['errors.ts', 'environment.ts'];
const root = [...rootFiles, 'input'];
const protocols = ['sandbox/protocol.ts', 'gateway/protocol.ts'];
const serve = ['net', 'observability'];

/** The folders of src/, lowest first. */
export const rooms: Readonly<Record<string, Room>> = {
  input: { imports: ['errors.ts'], instead: 'What knows one kind of input belongs in the folder that reads it.' },
  observability: { imports: root, instead: 'What measures one subsystem belongs in that subsystem.' },
  api: { imports: ['errors.ts'], instead: 'What acts on these objects belongs in the folder that acts.' },
  net: {
    imports: ['errors.ts', 'error-codes.ts', 'input', 'observability'],
    instead: 'What knows Kubernetes belongs in src/kube, what knows a door in src/gateway.',
  },
  kube: {
    imports: [...root, 'api', ...serve],
    instead: 'What decides about Incidents or Monitors belongs in src/controller.',
  },
  audit: {
    imports: ['errors.ts', 'input', 'api', 'observability'],
    instead: 'What serves or ships the log belongs in src/gateway, what shows it in src/cli.',
  },
  checks: {
    imports: ['errors.ts', 'input', 'api', 'kube', ...serve],
    instead: 'What follows from the result of a check belongs in src/controller.',
  },
  sandbox: {
    imports: [...root, 'api/isolation.ts', ...serve],
    inTests: ['agent'],
    instead: 'This runs beside the model: what has rights belongs in src/gateway.',
  },
  gateway: {
    imports: [...root, 'api', 'kube', 'audit', 'checks', ...serve],
    instead: 'What decides about Incidents belongs in src/controller.',
  },
  agent: {
    imports: [...root, 'error-codes.ts', 'api', 'audit', ...serve, ...protocols],
    inTests: ['messages-double'],
    instead:
      'The agent has no right in the cluster: what asks the API server belongs in src/controller or src/gateway.',
  },
  controller: {
    imports: [...root, 'error-codes.ts', 'api', 'kube', 'audit', 'checks', ...serve, ...protocols],
    instead: 'What forwards a request of an agent belongs in src/gateway; what both need, in its protocol.ts.',
  },
  'messages-double': {
    imports: ['errors.ts', 'input', 'api', ...serve],
    instead: 'This imitates a server of a vendor: what answers belongs in src/rehearsal or test/support.',
  },
  rehearsal: {
    imports: [...root, 'messages-double', ...serve],
    inTests: ['agent', 'sandbox'],
    instead: 'This replaces a model and sees only what a model sees.',
  },
  'docker-socket': {
    imports: [...root, ...serve],
    instead: 'What decides about a Docker request belongs in src/gateway.',
  },
  cli: {
    imports: [...root, 'error-codes.ts', 'api', 'kube', 'audit', 'checks', ...serve, 'gateway/protocol.ts'],
    inTests: ['gateway'],
    instead: 'What a server process also needs belongs in src/api, src/audit or src/checks.',
  },
};

/** How many levels of folders the rules cover below each folder. */
export const levels = [1, 2, 3, 4];

const clientNode = {
  '@kubernetes/client-node': 'Only src/kube uses the Kubernetes client. Add what is missing to src/kube and use that.',
};

const byRequest = 'Only src/net opens connections. Use openRequest() of src/net/request.ts';
const byServer = 'Only src/net opens connections and TLS servers. Use src/net/request.ts or src/net/tls-server.ts.';

/** The allowed imports from modules that open connections: servers and types. */
const networkModules = {
  'node:http': {
    allowImportNames: [
      'Agent',
      'createServer',
      'IncomingHttpHeaders',
      'IncomingMessage',
      'OutgoingHttpHeaders',
      'Server',
      'ServerResponse',
    ],
    message: `${byRequest}, and createAgent() for one.`,
  },
  'node:https': { allowImportNames: ['RequestOptions'], message: byServer },
  'node:http2': byServer,
  'node:tls': { allowImportNames: ['TLSSocket'], message: byServer },
  'node:net': {
    allowImportNames: ['AddressInfo', 'createServer', 'isIP', 'Server', 'Socket'],
    message: `${byRequest}, or add what is missing to src/net.`,
  },
  undici: byRequest,
};

const programPaths = { ...clientNode, ...networkModules };

/** Files that open connections themselves, and why. */
export const connectors: Readonly<Record<string, string>> = {
  'src/docker-socket/relay.ts': 'It forwards bytes of any protocol to a unix socket.',
  'src/docker-socket/process.ts': 'It only checks whether a process listens on the unix socket.',
  'src/sandbox/isolation-probes.ts': 'It tests whether a TCP connection can be established, and sends nothing.',
};

/** Files that use the global `fetch`, and why. */
export const fetchers: Readonly<Record<string, string>> = {
  'src/agent/model-fetch.ts': 'The SDK of the Messages API needs a fetch function.',
  'src/cli/reader/gateway-reader.ts': 'It reads one web API for people, through its own port-forward.',
};

const noFetch = {
  includes: ['src/**/*.ts', '!src/**/*.test.ts', ...Object.keys(fetchers).map((file) => `!${file}`)],
  linter: {
    rules: { style: { noRestrictedGlobals: { level: 'error', options: { deniedGlobals: { fetch: byRequest } } } } },
  },
};

/** Forbids imports that leave a folder, except those below `allowed` (patterns of .gitignore). */
function restrict(
  includes: readonly string[],
  up: string,
  allowed: readonly string[],
  message: string,
  paths?: object,
) {
  const exceptions = allowed.map((target) => `!${up}${target.endsWith('.ts') ? target : `${target}/**`}`);
  const options = { ...(paths && { paths }), patterns: [{ group: [`${up}**`, ...exceptions], message }] };
  return { includes, linter: { rules: { style: { noRestrictedImports: { level: 'error', options } } } } };
}

const list = new Intl.ListFormat('en', { type: 'conjunction' });

function roomRules(name: string, { imports, inTests = [], instead }: Room): object[] {
  const message = `src/${name} may import ${list.format(imports)} of src/. ${instead}`;
  const forTests = `${message} Its tests may also import ${list.format([...inTests, 'test/support'])}.`;
  const paths = name === 'kube' ? {} : clientNode;
  const ownPaths = name === 'net' ? paths : { ...paths, ...networkModules };
  const exempt = Object.keys(connectors).filter((file) => file.startsWith(`src/${name}/`));
  return [
    ...levels.flatMap((level) => {
      const files = `src/${name}/${'*/'.repeat(level - 1)}`;
      const up = '../'.repeat(level);
      return [
        restrict([`${files}*.ts`, `!${files}*.test.ts`], up, imports, message, ownPaths),
        restrict([`${files}*.test.ts`], up, [...imports, ...inTests, '../test/support'], forTests, paths),
      ];
    }),
    // A later override takes the place of an earlier one.
    ...exempt.map((file) => restrict([file], '../'.repeat(file.split('/').length - 2), imports, message, paths)),
  ];
}

function sideRules(folder: string, allowed: readonly string[], message: string): object[] {
  return levels.map((level) =>
    restrict([`${folder}/${'*/'.repeat(level - 1)}*.ts`], '../'.repeat(level), allowed, message, clientNode),
  );
}

/** The overrides for biome.json, one per line. */
export function importRules(): string {
  return `{\n"overrides": [\n${overrides()
    .map((rule) => JSON.stringify(rule))
    .join(',\n')}\n]\n}\n`;
}

function overrides(): object[] {
  const nothing = 'These files are below all folders. What needs more imports belongs in the folder that uses it.';
  const shared = [...rootFiles, 'error-codes.ts'].map((file) => `src/${file}`);
  return [
    noFetch,
    restrict(['src/errors.ts', 'src/error-codes.ts'], './', ['errors.ts', 'error-codes.ts'], nothing, programPaths),
    restrict(['src/environment.ts'], './', ['errors.ts', 'input'], nothing, programPaths),
    restrict(
      ['src/*.ts', '!src/*.test.ts', ...shared.map((file) => `!${file}`)],
      '../',
      [],
      'Programs import src/ only. Doubles belong in test/support, and what runs the lab in lab/.',
      programPaths,
    ),
    ...Object.entries(rooms).flatMap(([name, room]) => roomRules(name, room)),
    ...sideRules('hack', ['src'], 'hack/ may import src/. What knows the patient or a scenario belongs in lab/.'),
    ...sideRules(
      'lab',
      ['src', 'hack'],
      'lab/ may import src/ and hack/. What only tests use belongs in test/support.',
    ),
    ...sideRules(
      'test',
      ['src', 'hack', 'lab/index.ts'],
      'test/ may import src/, hack/ and lab/index.ts. Export what a test needs of the lab from lab/index.ts.',
    ),
  ];
}
