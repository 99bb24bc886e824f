// `oplab top` in a real terminal (tmux), against a real gateway and a real API server.

import { execFile } from 'node:child_process';
import { createServer, request, type Server } from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { displayWidth } from '../../src/cli/table.ts';
import { INCIDENTS, MONITORS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';
import { openTmux, type Terminal } from '../support/tmux.ts';

const exec = promisify(execFile);
const root = path.dirname(path.dirname(import.meta.dirname));
const main = path.join(root, 'src/main.ts');

let lab: GatewayHarness;
/** The gateway under an address that survives restarts and can be made unavailable. */
let way: Server;
let address: string;
let terminal: Terminal | undefined;

beforeAll(async () => {
  lab = await startGatewayHarness();
  way = createServer((incoming, outgoing) => {
    const onward = request(
      { host: '127.0.0.1', port: lab.gateway.ports.read, path: incoming.url, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        outgoing.flushHeaders();
        answer.pipe(outgoing);
        answer.on('error', () => outgoing.destroy());
      },
    );
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    onward.end();
  });
  await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve));
  const bound = way.address();
  address = `http://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`;
});
afterAll(async () => {
  way?.closeAllConnections();
  way?.close();
  await lab?.close();
});
afterEach(async () => {
  await terminal?.close();
  terminal = undefined;
});

const connection = () => ['--kubeconfig', path.join(lab.dir, 'plane/kubeconfig'), '--gateway', address];

async function top(options: { columns: number; rows: number; env?: Record<string, string>; args?: string[] }) {
  const line = [process.execPath, main, ...connection(), ...(options.args ?? []), 'top'].join(' ');
  terminal = await openTmux(`clear; ${line}; echo "ended with $?"`, options);
  return terminal;
}

let keys = 0;
async function append(attempt: Attempt, entry: object): Promise<string> {
  keys += 1;
  const clientKey = `1-${keys}`;
  const { status, text } = await lab.ask(attempt, 'POST', '/audit/v1/entries', { clientKey, ...entry });
  if (status >= 300) throw new Error(text);
  return clientKey;
}
const live = (attempt: Attempt, callKey: string, text: string) =>
  lab.ask(attempt, 'POST', '/audit/v1/live', { callKey, stream: 'stdout', text });

/** The session of an Incident while an agent runs a command. */
async function working(name: string): Promise<{ attempt: Attempt; call: string }> {
  const attempt = await lab.open(name);
  await lab.setStatus(name, { message: 'attempt 1 is at work' });
  await eventually(async () =>
    (await lab.ask(attempt, 'POST', '/agent/v1/start', { run: 'one' })).status === 200 ? true : undefined,
  );
  await append(attempt, { kind: 'reasoning', content: 'A store is gone; I look at the pods first.' });
  const call = await append(attempt, {
    kind: 'tool_call',
    tool: 'shell',
    params: { command: 'kubectl -n patient rollout status sts/tikv' },
    content: 'Do they come back?',
  });
  return { attempt, call };
}

async function createMonitor(name: string, state: string, more: object = {}): Promise<void> {
  await lab.client.create(MONITORS, {
    apiVersion: 'oplab.dev/v1alpha1',
    kind: 'Monitor',
    metadata: { name, namespace: TARGET },
    spec: {
      check: { http: { service: 'pd', port: 2379, cel: 'body.count == 3' } },
      incident: { summary: 'a store is gone' },
    },
  });
  await lab.client.patch(
    MONITORS,
    { name, namespace: TARGET },
    { status: { state, observed: 'body.count = 2', ...more } },
    { subresource: 'status' },
  );
}

/** Expects that every row fits, and that the screen is filled to the last row. */
function expectFits(screen: string, columns: number, rows: number): void {
  const lines = screen.replace(/\n$/, '').split('\n');
  expect(lines.length).toBeLessThanOrEqual(rows);
  for (const line of lines) expect(displayWidth(line), line).toBeLessThanOrEqual(columns);
  expect(lines[0]).toMatch(/^oplab top/);
  expect(lines.at(-1)).toMatch(/\? help {2}q quit/);
}

describe('oplab top', { timeout: 180_000 }, () => {
  let session: { attempt: Attempt; call: string };
  const store = 'store-down';
  beforeAll(async () => {
    await createMonitor('stores-up', 'Firing', {
      message: 'store 4 is Disconnected',
      alarms: [
        {
          ...{ fingerprint: 'f1', state: 'Firing', occurrences: 3, flaps: 0, incident: store },
          ...Object.fromEntries(['since', 'startTime', 'lastSeen'].map((key) => [key, new Date().toISOString()])),
        },
      ],
    });
    await createMonitor('pd-quorum', 'Healthy');
    session = await working(store);
  });

  it('shows the list, the session, streamed output, cost, Monitors and checks in 80x24', async () => {
    const { attempt, call } = session;
    const screen = await top({ columns: 80, rows: 24 });
    await screen.shows('kubectl -n patient rollout status');
    await live(attempt, call, 'Waiting for 1 po');
    await live(attempt, call, 'ds\nhalf a li');
    // Only complete lines of a silent program are shown.
    const seen = await screen.shows('Waiting for 1 pods');
    expectFits(seen, 80, 24);
    for (const text of [
      '1 open, 1 active',
      `● ${store}`,
      'thinks A store is gone; I look at the',
      'Do they come back?',
      '│ Waiting for 1 pods',
      'running, ',
      'attempt 1 is at work',
      'turn 0/60',
      'Health patient: ✗ Firing (1 of 2)',
      '✗ stores-up',
      'store 4 is Disc',
      '✓ pd-quorum',
      '○ well not checked yet',
      'cluster ok  gateway ok',
    ]) {
      expect(seen).toContain(text);
    }
    // Seconds and dollars are updated while nothing else happens.
    const running = /running, (\d+) s/.exec(seen)?.[1] ?? '';
    await screen.showsNot(`running, ${running} s`);
    await lab.setStatus(store, {
      usage: {
        ...{ turns: 2, modelCalls: 2, inputTokens: 1000, outputTokens: 10 },
        ...{ cacheReadTokens: 0, cacheWriteTokens: 0, costMilliUSD: 123 },
      },
    });
    await screen.shows('$0.1230/$2.00  turn 2/60');
    await screen.keys('q');
    await screen.shows('ended with 0');
    expect(await screen.screen()).not.toContain('Incidents');
  });

  it('follows the cursor, scrolls, zooms, shows help, and restores the terminal on ctrl-c', async () => {
    const other = await working('other-fault');
    for (let row = 1; row <= 40; row += 1) {
      await append(other.attempt, { kind: 'reasoning', content: `thought number ${row} of many` });
    }
    const screen = await top({ columns: 100, rows: 30 });
    await screen.shows('2 open, 2 active');
    await screen.keys('End');
    const first = await screen.shows(/─ patient\/(store-down|other-fault)/);
    await screen.keys('Home');
    await screen.shows('─ patient/store-down');
    await screen.keys('Down');
    await screen.shows('─ patient/other-fault');
    await screen.shows('thought number 40 of many');
    expect(first).not.toBe('');
    await screen.keys('Tab', 'Home');
    await screen.shows(/\[patient\/other-fault, \d+ lines below/);
    expect(await screen.showsNot('thought number 40 of many')).toContain('Attempt 1');
    await append(other.attempt, { kind: 'reasoning', content: 'what comes does not move the page' });
    await screen.shows(/f follow/);
    expect(await screen.screen()).not.toContain('what comes');
    await screen.keys('f');
    await screen.shows('what comes does not move the page');
    await screen.keys('Enter');
    await screen.showsNot('Monitors');
    await screen.keys('Enter', '?');
    await screen.shows('zoom the session to the whole screen, and back');
    await screen.keys('?');
    await screen.shows('Monitors 2');
    await screen.keys('C-c');
    await screen.shows('ended with 0');
    await screen.keys('stty -a | grep -c " echo "', 'Enter');
    await screen.shows(/^1$/m);
    await lab.client.delete(INCIDENTS, { name: 'other-fault', namespace: TARGET });
  });

  it('fits after every change of size, down to a size that is too small, and back', async () => {
    const screen = await top({ columns: 120, rows: 40 });
    await screen.shows('Do they come back?');
    for (const [columns, rows] of [
      [80, 24],
      [60, 20],
      [100, 12],
      [200, 50],
      [40, 10],
      [80, 24],
    ] as const) {
      await screen.resize(columns, rows);
      // The terminal reflows its old content before the screen is drawn again.
      await eventually(async () => {
        const seen = await screen.screen();
        return seen.replace(/\n$/, '').split('\n').length === rows && /^oplab top.*\? help {2}q quit *\n$/s.test(seen)
          ? true
          : undefined;
      }).catch(() => undefined);
      expectFits(await screen.screen(), columns, rows);
    }
    await screen.shows('Health patient');
    await screen.resize(20, 5);
    await screen.shows('too small');
    await screen.resize(80, 24);
    await screen.shows('Health patient');
  });

  it('shows everything without colour, and without UTF-8', async () => {
    const plain = await top({ columns: 80, rows: 24, env: { NO_COLOR: '1' } });
    await plain.shows('Health patient: ✗ Firing');
    expect(await plain.rawScreen()).not.toContain('\u001b[');
    await plain.close();
    const coloured = await top({ columns: 80, rows: 24 });
    await coloured.shows('Health patient: ✗ Firing');
    expect(await coloured.rawScreen()).toContain('\u001b[31m');
    await coloured.close();
    const ascii = await top({ columns: 80, rows: 24, env: { LANG: 'C', LC_ALL: 'C' } });
    const seen = await ascii.shows('Health patient: x Firing');
    expect(seen).toMatch(/^[\x20-\x7e\n]*$/);
    expect(seen).toContain('-[Incidents 1]---');
  });

  it('reports that the gateway is unavailable, and continues by itself when it is back, with each entry once', async () => {
    const { attempt } = session;
    const screen = await top({ columns: 120, rows: 40 });
    await screen.shows('gateway ok');
    await screen.shows('Do they come back?');
    const port = Number(new URL(address).port);
    way.closeAllConnections();
    await new Promise((resolve) => way.close(resolve));
    await lab.restartGateway();
    await screen.shows('gateway down');
    await screen.shows('Waiting for the gateway:');
    expect(await screen.screen()).toContain('Do they come back?');
    await eventually(async () =>
      (
        await lab.ask(attempt, 'POST', '/audit/v1/entries', {
          clientKey: 'back',
          kind: 'reasoning',
          content: 'and on it goes',
        })
      ).status === 200
        ? true
        : undefined,
    );
    await new Promise<void>((resolve) => way.listen(port, '127.0.0.1', resolve));
    const seen = await screen.shows('and on it goes');
    expect(seen).toContain('gateway ok');
    expect(seen.split('Do they come back?').length).toBe(2);
  });

  it('returns to the shell on ctrl-z and resumes with fg', async () => {
    const screen = await top({ columns: 80, rows: 24 });
    await screen.shows('Health patient');
    await screen.keys('C-z');
    await screen.showsNot('Health patient');
    await screen.keys('echo in the shell', 'Enter');
    await screen.shows(/^in the shell$/m);
    await screen.keys('fg', 'Enter');
    await screen.shows('Health patient');
    await screen.resize(90, 20);
    await eventually(async () => ((await screen.screen()).split('\n').length === 21 ? true : undefined));
    await screen.keys('q');
    await screen.showsNot('Health patient');
  });

  it('fails with an error if there is no kubeconfig', async () => {
    const line = [process.execPath, main, '--kubeconfig', '/nonexistent', '--gateway', address, 'top'].join(' ');
    terminal = await openTmux(`clear; ${line}; echo "ended with $?"`, { columns: 80, rows: 24 });
    await terminal.shows(/ended with [12]/);
    expect(await terminal.screen()).toContain('OPLAB_');
  });

  it('shows no escape codes from a session, and shows a session that ends', async () => {
    const { attempt } = session;
    const screen = await top({ columns: 80, rows: 24 });
    await screen.shows('gateway ok');
    await append(attempt, { kind: 'reasoning', content: '\u001b[2J\u001b]0;evil\u0007colourless' });
    await screen.shows('colourless');
    expect(await screen.screen()).toContain('Health patient');
    await lab.setStatus(store, {
      phase: 'Resolved',
      message: 'Resolved: all checks have held',
      finishTime: new Date().toISOString(),
      conditions: [
        {
          ...{ type: 'Finished', status: 'True', reason: 'Resolved', message: '' },
          lastTransitionTime: new Date().toISOString(),
        },
      ],
    });
    await screen.shows(`✓ ${store}`);
    await screen.shows('0 open, 0 active');
    await screen.keys('a');
    await screen.shows('show finished');
  });
});

describe('the chapters of the demo above the panes', { timeout: 180_000 }, () => {
  const startDemo = async () => {
    const kubeconfig = path.join(lab.dir, 'plane/kubeconfig');
    const program = path.join(import.meta.dirname, '../support/demo-screen.ts');
    const line = [process.execPath, program, kubeconfig, address, TARGET].join(' ');
    terminal = await openTmux(`clear; ${line}; echo "ended with $?"`, { columns: 80, rows: 24 });
    return terminal;
  };

  it('shows its chapters and waits at the end until the user leaves', async () => {
    const screen = await startDemo();
    for (const [index, name] of ['healthy', 'load', 'fault', 'detected', 'repair', 'verified'].entries()) {
      const seen = await screen.shows(` ${index + 1}/6 ${name} `);
      expectFits(seen, 80, 24);
    }
    await screen.shows('all is well – press q to leave');
    expect(await screen.screen()).toContain('Monitors 2');
    await screen.keys('q');
    await screen.shows('the demo has ended');
    await screen.shows('ended with 0');
  });

  it('continues as text when the user leaves before the end', async () => {
    const screen = await startDemo();
    await screen.shows('2/6 load');
    await screen.keys('q');
    await screen.shows('== 4 of 6: detected');
    await screen.shows('all is well');
    await screen.shows('ended with 0');
  });
});

describe('without a terminal', () => {
  it.each([
    ['output to a pipe', {}],
    ['a dumb terminal', { TERM: 'dumb' }],
  ])('reports that and names an alternative: %s', async (_name, env) => {
    const run = exec(process.execPath, [main, ...connection(), 'top'], { env: { ...process.env, ...env } });
    await expect(run).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/OPLAB_NOT_A_TERMINAL.*incident watch/),
    });
  });
});
