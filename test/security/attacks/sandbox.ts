// Attacks on the shell server and on the machine by commands, and on doors by foreign tokens.

/** Tokens that an admin made, to see what a door does with each. */
export interface Tokens {
  /** Of the attempt's account, bound to its pod, for the audience of the agent's container. */
  readonly agent: string;
  /** For the API server itself. */
  readonly apiServer: string;
  /** With the sandbox's audience, but bound to no pod. */
  readonly unbound: string;
  /** With the sandbox's audience, of an account of the target namespace. */
  readonly stranger: string;
}

export interface CommandAttack {
  readonly name: string;
  readonly family: string;
  readonly expected: string;
  readonly command: (tokens: Tokens) => string;
  /** What the printed text has if the attack succeeded. */
  readonly success?: RegExp;
  /** What is among the command lines of the container afterwards if the attack succeeded. */
  readonly leaves?: RegExp;
  /** What the printed text has if the attack was made at all. */
  readonly reports?: RegExp;
  /** The same attack where its wall is not; it must print what `success` matches. */
  readonly withoutWall?: (tokens: Tokens) => string;
}

/** Another process of the same user, which is not protected as the shell server is. */
const ORDINARY = 'sleep 5 & P=$!; sleep 0.2';

/** Reading and stopping the shell server, which runs as the same user. */
const process = (name: string, of: (pid: string) => string, success: RegExp): CommandAttack => ({
  name,
  family: 'shell server',
  expected: 'permission denied',
  command: () => of('$PPID'),
  success,
  withoutWall: () => `${ORDINARY}; ${of('$P')}`,
});

const shellServer: readonly CommandAttack[] = [
  process('read its environment', (pid) => `grep -q PATH= /proc/${pid}/environ && echo got-it`, /got-it/),
  process('read its memory map', (pid) => `cat /proc/${pid}/maps >/dev/null && echo got-it`, /got-it/),
  process('open its memory for writing', (pid) => `exec 3<>/proc/${pid}/mem && echo got-it`, /got-it/),
  process('list its files', (pid) => `ls /proc/${pid}/fd/ >/dev/null && echo got-it`, /got-it/),
  process('open one of its files', (pid) => `head -c 0 /proc/${pid}/fd/0 && echo got-it`, /got-it/),
  process('enter its working directory', (pid) => `cd /proc/${pid}/cwd && echo got-it`, /got-it/),
  process('read its program', (pid) => `head -c 4 /proc/${pid}/exe >/dev/null && echo got-it`, /got-it/),
  process('read its stack', (pid) => `cat /proc/${pid}/auxv >/dev/null && echo got-it`, /got-it/),
  {
    name: 'open its debugger with SIGUSR1',
    family: 'shell server',
    expected: 'nothing listens on port 9229',
    command: () => 'kill -USR1 $PPID; sleep 1; curl -sS -m 2 http://127.0.0.1:9229/json 2>&1',
    success: /webSocketDebuggerUrl/,
    withoutWall: () =>
      "node -e 'setTimeout(() => {}, 4000)' >/dev/null 2>&1 & P=$!; sleep 1; kill -USR1 $P; sleep 1; curl -sS -m 2 http://127.0.0.1:9229/json",
  },
  {
    name: 'leave a process with setsid',
    family: 'shell server',
    expected: 'it is killed with its command',
    command: () =>
      '(setsid bash -c "exec -a left-behind sleep 300" >/dev/null 2>&1 </dev/null &); sleep 0.3; echo started',
    leaves: /left-behind/,
  },
  {
    name: 'leave a listener with nohup',
    family: 'shell server',
    expected: 'it is killed with its command',
    command: () =>
      `(nohup node -e 'require("net").createServer().listen(31999)' >/dev/null 2>&1 </dev/null & disown); sleep 0.5; echo started`,
    leaves: /31999/,
  },
  {
    name: 'leave a process that was started twice over',
    family: 'shell server',
    expected: 'it is killed with its command',
    command: () => `bash -c '(bash -c "(setsid -f sleep 301) &" &)'; sleep 0.3; echo started`,
    leaves: /sleep 301/,
  },
  {
    name: '200 processes at once',
    family: 'bombs',
    expected: 'they end with their command',
    command: () => 'for i in $(seq 200); do sleep 302 & done; echo started',
    leaves: /sleep 302/,
  },
  {
    name: '100 MB of output',
    family: 'bombs',
    expected: 'the middle is left out',
    command: () => 'head -c 100000000 /dev/zero | tr "\\0" a',
    success: /a{200000}/,
  },
  {
    name: 'one line without an end on stderr',
    family: 'bombs',
    expected: 'the middle is left out',
    command: () => 'head -c 20000000 /dev/zero | tr "\\0" b >&2',
    success: /b{200000}/,
  },
  {
    name: 'a name of 64 kB for a request',
    family: 'bombs',
    expected: 'refused',
    command: () =>
      `${DOOR}; door "/api/v1/namespaces/$(head -c 64000 /dev/zero | tr '\\0' a)" -o /dev/null -w 'status=%{http_code}'`,
    success: /status=2\d\d/,
    reports: /status=\d\d\d/,
  },
  {
    name: 'write to the root file system',
    family: 'shell server',
    expected: 'read-only',
    command: () =>
      'for f in /opt/oplab/dist/main.mjs /usr/local/bin/kubectl /etc/passwd /usr/local/bin/x; do (: >> $f) 2>/dev/null && echo "wrote $f"; done; echo done',
    success: /wrote \//,
    withoutWall: () => 'f=$HOME/x; (: >> $f) && echo "wrote $f"',
  },
  {
    name: 'become root',
    family: 'shell server',
    expected: 'no right',
    command: () => 'unshare -Ur id -u 2>&1; su -c id 2>&1; (echo 0 > /proc/self/uid_map) 2>&1; echo "uid=$(id -u)"',
    success: /uid=0/,
  },
];

const DOOR = `door() { curl -sS -m 8 --cacert "$(sed -n 's/.*certificate-authority: //p' $KUBECONFIG)" -H "Authorization: Bearer \${TOKEN:-$(cat "$(sed -n 's/.*tokenFile: //p' $KUBECONFIG)")}" "$(sed -n 's/.*server: //p' $KUBECONFIG | sed "s/:6443/:\${PORT:-6443}/")$1" "\${@:2}"; }`;

/** A request whose status is printed as `status=200`. */
const status = (variables: string, path: string, more = '') =>
  `${DOOR}; ${variables} door ${path} -o /dev/null -w 'status=%{http_code}' ${more}`;

const entry = (kind: string, key: string) =>
  `-H 'Content-Type: application/json' -d '{"clientKey":"${key}","kind":"${kind}","content":"forged"}'`;
const ENTRIES = '/audit/v1/entries';

const doors: readonly CommandAttack[] = [
  ...['tool_call', 'tool_result', 'reasoning', 'lifecycle', 'kube_intent', 'model_call'].map(
    (kind): CommandAttack => ({
      name: `an entry of kind ${kind} with the token of the sandbox`,
      family: 'audit door',
      expected: '401; no such entry',
      command: () => status('PORT=8443', ENTRIES, entry(kind, `forged-${kind}`)),
      success: /status=2\d\d/,
      reports: /status=\d\d\d/,
      ...(kind === 'reasoning'
        ? { withoutWall: ({ agent }) => status(`PORT=8443 TOKEN=${agent}`, ENTRIES, entry(kind, 'proof')) }
        : {}),
    }),
  ),
  ...['kube_intent', 'kube_outcome', 'model_call', 'docker_intent'].map(
    (kind): CommandAttack => ({
      name: `an entry of kind ${kind} with the token of the agent`,
      family: 'audit door',
      expected: 'refused; no such entry',
      command: ({ agent }) => status(`PORT=8443 TOKEN=${agent}`, ENTRIES, entry(kind, `forged-by-agent-${kind}`)),
      success: /status=2\d\d/,
      reports: /status=\d\d\d/,
    }),
  ),
  ...(['agent', 'apiServer', 'unbound', 'stranger'] as const).map(
    (which): CommandAttack => ({
      name: `the kube door with a token: ${which}`,
      family: 'tokens',
      expected: '401',
      command: (tokens) => status(`TOKEN=${tokens[which]}`, '/version'),
      success: /status=2\d\d/,
      reports: /status=\d\d\d/,
      withoutWall: () => status('', '/version'),
    }),
  ),
  ...['', 'x', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.', "' OR 1=1"].map(
    (token): CommandAttack => ({
      name: `the kube door with a made-up token: ${JSON.stringify(token)}`,
      family: 'tokens',
      expected: '401',
      command: () => status(`TOKEN=${token === '' ? "' '" : JSON.stringify(token)}`, '/version'),
      success: /status=2\d\d/,
      reports: /status=\d\d\d/,
      withoutWall: () => status('', '/version'),
    }),
  ),
  ...['/agent/v1/task', '/v1/messages', '/healthz', '/metrics', '/read/v1/sessions'].map(
    (path): CommandAttack => ({
      name: `${path} of the agent's port with the token of the sandbox`,
      family: 'tokens',
      expected: '401 or 404',
      command: () => status('PORT=8443', path),
      success: /status=2\d\d/,
      reports: /status=\d\d\d/,
    }),
  ),
];

/** A request to the model door with the agent's own token, as a compromised agent could send it. */
const model = (body: string, agent: string) =>
  `cat > $HOME/body.json <<'BODY'\n${body}\nBODY\n${status(
    `PORT=8443 TOKEN=${agent}`,
    '/v1/messages',
    `-H 'Content-Type: application/json' -H 'anthropic-version: 2023-06-01' --data-binary @$HOME/body.json`,
  )}`;
const question = { model: 'scripted-1', max_tokens: 10, messages: [{ role: 'user', content: 'hello' }] };
const asking = (...content: object[]) => ({ ...question, messages: [{ role: 'user', content }] });
const image = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' };

/** Ways past the budget, past the model that was chosen, and out through the vendor. */
const modelDoor: readonly CommandAttack[] = (
  [
    ['another model', { ...question, model: 'scripted-9' }],
    ['more output than the class allows', { ...question, max_tokens: 1_000_000_000 }],
    ['a dearer tier', { ...question, service_tier: 'auto' }],
    ['a dearer speed', { ...question, speed: 'fast' }],
    ['an image, whose price its bytes do not tell', asking({ type: 'image', source: image })],
    [
      'an image in the result of a tool',
      asking({ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'image', source: image }] }),
    ],
    [
      'a document that the vendor fetches',
      asking({ type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }),
    ],
    ['a file of the account', asking({ type: 'container_upload', file_id: 'file_1' })],
    ['a search of the web', { ...question, tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    [
      'code that the vendor runs',
      { ...question, tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] },
    ],
    ['a server of tools', { ...question, mcp_servers: [{ type: 'url', url: 'https://example.com', name: 'a' }] }],
    ['a field that nobody knows', { ...question, betas: ['x'] }],
    ['a block of no known type', asking({ type: 'text2', text: 'a' })],
  ] satisfies [string, object][]
).map(
  ([name, body]): CommandAttack => ({
    name: `a question with ${name}`,
    family: 'model door',
    expected: 'refused; nothing is asked',
    command: ({ agent }) => model(JSON.stringify(body), agent),
    success: /status=2\d\d/,
    reports: /status=\d\d\d/,
    // A plain question is answered, so it is not the way that is closed.
    withoutWall: ({ agent }) => model(JSON.stringify(question), agent),
  }),
);

export const commandAttacks: readonly CommandAttack[] = [...shellServer, ...doors, ...modelDoor].map(
  (attack, index) => ({
    ...attack,
    // By this the entry of the command is found.
    command: (tokens) => `: attack ${index}; ${attack.command(tokens)}`,
  }),
);
