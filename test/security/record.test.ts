// Attacks on the record from inside a real sandbox, by the agent's own tool: nothing that a command
// does is hidden, and no command owns the ones after it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kubectl, trail } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, type Move, readToolResults, shell } from '../support/scripted-model.ts';

/** A request to the kube door with the sandbox's token: method, path, then more arguments of curl. */
const DOOR = `door() { curl -sS --cacert "$(sed -n 's/.*certificate-authority: //p' $KUBECONFIG)" -H "Authorization: Bearer $(cat "$(sed -n 's/.*tokenFile: //p' $KUBECONFIG)")" "$(sed -n 's/.*server: //p' $KUBECONFIG)$1" "\${@:2}"; }`;

describe('from the sandbox, an attack on the record', () => {
  let lab: OperatorHarness;
  beforeAll(async () => {
    lab = await openOperatorHarness();
  });
  afterAll(() => lab?.close());

  /** Runs commands as the agent and returns what each of them printed. */
  async function attack(name: string, ...commands: string[]): Promise<string[]> {
    let printed: string[] = [];
    const last: Move = (request) => {
      printed = readToolResults(request);
      return conclude('cannot_fix')(request);
    };
    lab.model.play(shell(...commands), last);
    await lab.open(name, { limits: { attempts: 1, timeoutSeconds: 180 } });
    await lab.finished(name, 180);
    return printed;
  }

  it('by a marker of a secret before a command fails: the command is recorded whole', async () => {
    const command = `kubectl -n ${lab.namespace} create configmap planted --from-literal=a=b`;
    const commands = [
      `cookie=1; ${command}-1`,
      `: -----BEGIN PRIVATE KEY-----; ${command}-2`,
      `: '"password":"'; ${command}-3; : '"'`,
      `: 'kind: Secret\ndata:\n  a: '; ${command}-4`,
    ];
    await attack('marker', ...commands);
    const recorded = (await trail(lab.namespace, 'marker'))
      .filter((entry) => entry.kind === 'tool_call' && entry.tool === 'shell')
      .map((entry) => String(Object(entry.params).command));
    expect(recorded).toHaveLength(commands.length);
    for (const [index, text] of recorded.entries()) expect(text).toContain(`${command}-${index + 1}`);
  });

  it('by a body that the record cannot show fails: nothing is written', async () => {
    const target = `/api/v1/namespaces/${lab.namespace}/configmaps`;
    const object = (name: string) => `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"${name}"}}`;
    const [dropped, padded, table] = await attack(
      'body',
      `${DOOR}; { head -c 4096 /dev/zero | tr '\\0' ' '; echo '${object('dropped')}'; } | door ${target} -H 'Content-Type: application/vnd.kubernetes.protobuf' -H 'Connection: content-type' --data-binary @-`,
      `${DOOR}; { head -c 1000000 /dev/zero | tr '\\0' ' '; echo '${object('padded')}'; head -c 1000000 /dev/zero | tr '\\0' ' '; } | door ${target} -H 'Content-Type: application/json' --data-binary @- -o /dev/null -w '%{http_code}'`,
      `${DOOR}; door ${target} -H 'Accept: application/yaml' -H 'Content-Type: application/json' -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"named-"}}'`,
    );
    expect(dropped).toContain('Connection: content-type is not supported');
    expect(padded).toContain('201');
    expect(table).toContain('named-');
    const writes = (await trail(lab.namespace, 'body')).filter((entry) => entry.kind === 'kube_outcome');
    expect(writes.map((entry) => entry.content)).toEqual([
      expect.stringMatching(/create configmaps \S+ padded: 201/),
      expect.stringMatching(/create configmaps \S+ named-\w+: 201/),
    ]);
    expect(await kubectl('-n', lab.namespace, 'get', 'configmaps', '-o', 'name')).not.toContain('dropped');
  });

  it('by the debugger or the memory of the shell server fails', async () => {
    const [opened, memory, after] = await attack(
      'debugger',
      'kill -USR1 $PPID; sleep 1; curl -sS -m 2 http://127.0.0.1:9229/json 2>&1; grep -c ":240D" /proc/net/tcp',
      'cat /proc/$PPID/environ 2>&1; head -c 1 /proc/$PPID/mem 2>&1; cat /proc/$PPID/maps 2>&1',
      'echo replica 2 is BAD',
    );
    expect(opened).toMatch(/refused|Failed to connect|Couldn't connect/i);
    expect(memory?.match(/Permission denied/g)?.length).toBe(3);
    expect(after).toContain('replica 2 is BAD');
  });

  it('by a token of another account, or a planted runbook, fails', async () => {
    const token = `kubectl -n ${lab.namespace} apply -f - <<E
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: proof, annotations: {kubernetes.io/service-account.name: default}}
E`;
    const [secret, runbook] = await attack(
      'identity',
      token,
      `kubectl -n ${lab.namespace} create configmap oplab-runbook --from-literal=access=x`,
    );
    expect(secret).toContain('may not make a token of an account');
    expect(runbook).toContain('may not write ConfigMap oplab-runbook');
  });

  it('by freezing the shell server ends the attempt, and the record says why', async () => {
    lab.model.play(() => [
      {
        type: 'tool_use',
        name: 'shell',
        input: { command: 'kill -STOP $PPID; sleep 60', purpose: 'to be without a limit', timeout_seconds: 1 },
      },
    ]);
    await lab.open('frozen', { limits: { attempts: 1, timeoutSeconds: 180 } });
    const incident = await lab.finished('frozen', 120);
    expect(incident.status?.phase).toBe('Escalated');
    const entries = await trail(lab.namespace, 'frozen');
    const reason = 'the shell server did not report the end of a command';
    expect(entries.some((entry) => entry.content.includes(reason))).toBe(true);
    // Also where people look first.
    expect(incident.status?.attempts?.[0]?.message).toContain(reason);
  });
});
