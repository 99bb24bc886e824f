// An attempt whose agent is killed at chosen moments and started again, against one model, one
// gateway and one sandbox that live on. A moment is before or after each effect of the agent.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as z from 'zod';
import type { AgentEvent } from '../../src/agent/events.ts';
import { runAttempt } from '../../src/agent/process.ts';
import type { Sandbox } from '../../src/agent/sandbox-client.ts';
import type { Task } from '../../src/gateway/protocol.ts';
import type { EndState } from '../../src/sandbox/protocol.ts';
import { anExit, type Content, closed, events } from './attempt-harness.ts';
import { type FakeGateway, fakeTask, startFakeGateway } from './fake-gateway.ts';
import { silentLogger } from './silent-logger.ts';

export interface KilledAttempt {
  readonly gateway: FakeGateway;
  /** The ids of the commands that began, in order. */
  readonly ran: readonly string[];
  readonly seen: readonly AgentEvent[];
  /** All moments, over all processes. */
  readonly moments: readonly string[];
  readonly processes: number;
}

interface Options {
  /** The model's answers: the nth to a conversation with n answers. */
  readonly answers: readonly (readonly Content[])[];
  /** The moments at which the agent is killed, from 0. */
  readonly killAt: readonly number[];
  readonly task?: Partial<Task>;
}

const request = z.looseObject({ messages: z.array(z.looseObject({ role: z.string() })) });

/** One process of the agent. */
class Process {
  isDead = false;
  readonly stop = new AbortController();
  readonly died = Promise.withResolvers<void>();
  readonly onDeath: (() => void)[] = [];

  /** At once: nothing of it has an effect any more. */
  kill(): void {
    this.isDead = true;
    for (const react of this.onDeath) react();
    this.died.resolve();
  }
}

/** Runs until a process ends by itself. */
export async function killedAttempt({ answers, killAt, task }: Options): Promise<KilledAttempt> {
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-killed-'));
  const tokenFile = path.join(directory, 'token');
  await writeFile(tokenFile, 'token\n');
  const moments: string[] = [];
  const ran: string[] = [];
  const seen: AgentEvent[] = [];
  const states = new Map<string, EndState>();
  let current = new Process();
  let running = 0;

  /** Throws what never reaches anybody, if the process that it is about is dead. */
  function moment(name: string): void {
    const isChosen = killAt.includes(moments.length);
    moments.push(name);
    if (!isChosen) return;
    current.kill();
  }
  const gateway = await startFakeGateway({
    // What a task says changes all the time.
    task: () => fakeTask({ model: { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000 }, ...task }),
    onMoment: (name) => moment(name),
    messages: async (body, response) => {
      const { messages } = request.parse(body);
      const asked = current;
      const content = answers[messages.filter(({ role }) => role === 'assistant').length] ?? [];
      const stop = content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn';
      const parts = events(content, stop);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(parts.slice(0, 2).join(''));
      moment('while an answer streams');
      if (asked.isDead) return;
      response.write(parts.slice(2).join(''));
      moment('after an answer');
      if (!asked.isDead) response.end();
    },
  });

  async function start(process: Process): Promise<void> {
    const address = await gateway.listen();
    const at = async (name: string) => {
      moment(name);
      if (process.isDead) await new Promise(() => {});
    };
    process.onDeath.push(address.kill, () => process.stop.abort(new Error('killed')));
    const sandbox: Sandbox = {
      ready: async () => undefined,
      isolation: async () => {
        await at('before the isolation probes');
        return closed;
      },
      async exec({ id, command }) {
        await at('before a command');
        ran.push(id);
        running++;
        states.set(id, 'killed');
        // The shell server ends the command of a caller that is gone.
        process.onDeath.push(() => states.get(id) === 'killed' && running--);
        await at('while a command runs');
        states.set(id, 'finished');
        running--;
        await at('after a command');
        return anExit(`output of ${command}\n`);
      },
      async end(id) {
        await at('before a command is ended');
        const state = states.get(id) ?? 'unknown';
        await at('after a command was ended');
        return state;
      },
    };
    await runAttempt({
      gatewayUrl: address.url,
      tokenFile,
      sandbox,
      logger: silentLogger(),
      signal: process.stop.signal,
      onEvent: (event) => process.isDead || seen.push(event),
      leaveReport: async () => {},
    });
  }

  let processes = 0;
  try {
    for (; ; current = new Process()) {
      processes++;
      // A process that was killed is not waited for, and what becomes of it interests nobody.
      const ended = start(current).then(
        () => true,
        (error: unknown) => Promise.reject(error),
      );
      ended.catch(() => {});
      if (await Promise.race([ended, current.died.promise.then(() => false)])) break;
    }
    if (running !== 0) throw new Error('a command runs that nobody waits for');
    return { gateway, ran, seen, moments, processes };
  } finally {
    await gateway.close();
    await rm(directory, { recursive: true, force: true });
  }
}
