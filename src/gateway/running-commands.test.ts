// Which command explains a request: over the whole life of a command, its end and its grace, after a
// restart of the gateway, and for other attempts and sessions.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Entry } from '../audit/entry.ts';
import { GRACE_MS, RunningCommands, type UnexplainedWrite } from './running-commands.ts';

const lease = { session: 's', attempt: 1 };
let now: number;
let log: Entry[];
let reads: number;
let commands: RunningCommands;
const seen = vi.fn<(session: string, write: UnexplainedWrite) => void>();

const create = () =>
  new RunningCommands({
    log: {
      read: async (session, { afterSeq = 0, limit = 1000 } = {}) => {
        reads += 1;
        return log.filter((entry) => entry.session === session && entry.seq > afterSeq).slice(0, limit);
      },
    },
    onUnexplained: seen,
    now: () => now,
  });

beforeEach(() => {
  now = 0;
  log = [];
  reads = 0;
  seen.mockClear();
  commands = create();
});

/** Appends an entry as the log does. Returns its sequence number. */
function append(entry: Partial<Entry>, announce = true): number {
  const session = entry.session ?? 's';
  const seq = log.filter((other) => other.session === session).length + 1;
  const whole: Entry = {
    ...{ session, seq, time: '2026-01-01T00:00:00.000Z', attempt: 1, writer: 'agent', clientKey: `1-${seq}` },
    ...{ kind: 'reasoning', tool: null, params: null, exitCode: null, durationMs: null, content: '' },
    ...{ blobDigest: null, prevHash: '', hash: '' },
    ...entry,
  };
  log.push(whole);
  if (announce) commands.appended(whole);
  return seq;
}

const call = (more: Partial<Entry> = {}) =>
  append({ kind: 'tool_call', tool: 'shell', params: { command: 'kubectl apply -f x' }, ...more });
const unexplained = { unexplained: true };
const explain = (isGone = false, of = lease) => commands.explain(of, isGone);

describe('a request', () => {
  it('before the first command is not explained', async () => {
    append({ writer: 'gateway', kind: 'lifecycle' });
    expect(await explain()).toEqual(unexplained);
  });

  it('belongs to the command that is running, however long it runs', async () => {
    const seq = call();
    now = 600_000;
    expect(await explain()).toEqual({ commandSeq: seq });
  });

  it('is still explained after the summary of an earlier result', async () => {
    const seq = call();
    append({ kind: 'lifecycle', params: { step: 'summary', result: 1 } });
    now = 600_000;
    expect(await explain()).toEqual({ commandSeq: seq });
  });

  it.each<[string, Partial<Entry>]>([
    ['its result', { kind: 'tool_result', tool: 'shell' }],
    ['the result of a call that does not say which', { kind: 'tool_result', tool: null }],
    ['the call of another tool', { kind: 'tool_call', tool: 'conclude', params: { outcome: 'Fixed' } }],
    ['a call that the agent refuses to run', { kind: 'tool_call', tool: 'shell', params: { input: '{}' } }],
    ['the last words of an agent that was restarted', { kind: 'lifecycle', params: { step: 'interrupted' } }],
  ])('after %s is explained during the grace only', async (_, end) => {
    const seq = call();
    now = 5000;
    append(end);
    now = 5000 + GRACE_MS;
    expect(await explain()).toEqual({ commandSeq: seq });
    now += 1;
    expect(await explain()).toEqual(unexplained);
  });

  it('after the end that the agent reports is not explained, though the result is not recorded yet', async () => {
    const seq = call();
    now = 100;
    await commands.ended(lease, `1-${seq}`);
    now = 101 + GRACE_MS;
    expect(await explain()).toEqual(unexplained);
    // The result comes later and does not prolong the grace.
    append({ kind: 'tool_result', tool: 'shell' });
    expect(await explain()).toEqual(unexplained);
  });

  it('is still explained if another command is reported to have ended', async () => {
    const seq = call();
    await commands.ended(lease, '1-99');
    await commands.ended({ session: 's', attempt: 2 }, `1-${seq}`);
    now = 10_000;
    expect(await explain()).toEqual({ commandSeq: seq });
  });

  it('whose caller has gone belongs to the latest command', async () => {
    expect(await explain(true)).toEqual(unexplained);
    const seq = call();
    append({ kind: 'tool_result', tool: 'shell' });
    now = 60_000;
    expect(await explain(true)).toEqual({ commandSeq: seq });
  });

  it('of another attempt, or of another session, is not explained by this command', async () => {
    call();
    expect(await explain(false, { session: 's', attempt: 2 })).toEqual(unexplained);
    expect(await explain(false, { session: 'other', attempt: 1 })).toEqual(unexplained);
  });

  it('is not explained by what somebody else than the agent wrote', async () => {
    call({ writer: 'sandbox' });
    call({ writer: 'gateway' });
    expect(await explain()).toEqual(unexplained);
  });

  it('belongs to the same command while the agent thinks aloud', async () => {
    const seq = call();
    append({ kind: 'reasoning' });
    now = 60_000;
    expect(await explain()).toEqual({ commandSeq: seq });
  });
});

describe('after a restart of the gateway', () => {
  it('a command that is running is known', async () => {
    const seq = call();
    commands = create();
    expect(await explain()).toEqual({ commandSeq: seq });
  });

  it('entries that are appended before the log was read are not lost', async () => {
    for (let number = 0; number < 2500; number += 1) append({}, false);
    const asked = explain();
    const seq = call();
    expect(await asked).toEqual({ commandSeq: seq });
    expect(await explain()).toEqual({ commandSeq: seq });
    const before = reads;
    append({ kind: 'tool_result', tool: 'shell' });
    now = 10_000;
    expect(await explain()).toEqual(unexplained);
    // The log is read once; then each entry is announced.
    expect(reads).toBe(before);
  });

  it('a write without explanation is known, and reported again', async () => {
    append({ writer: 'gateway', kind: 'kube_intent', params: { verb: 'create', unexplained: true } });
    commands = create();
    seen.mockClear();
    expect(commands.knownUnexplained('s')).toBeUndefined();
    expect(await commands.unexplained('s')).toMatchObject({ seq: 1 });
    expect(seen).toHaveBeenCalledTimes(1);
  });
});

describe('a write without explanation', () => {
  it.each(['kube_intent', 'docker_intent'] as const)('is reported once, from the %s that says so', (kind) => {
    append({ writer: 'gateway', kind, params: { commandSeq: 1 } });
    expect(commands.knownUnexplained('s')).toBeUndefined();
    const seq = append({ writer: 'gateway', kind, params: unexplained, content: 'unexplained: create \u001b[31mx' });
    append({ writer: 'gateway', kind, params: unexplained, content: 'create y' });
    const first = { seq, attempt: 1, time: '2026-01-01T00:00:00.000Z', text: 'create ␛[31mx' };
    expect(seen.mock.calls).toEqual([['s', first]]);
    expect(commands.knownUnexplained('s')).toEqual(first);
    expect(commands.knownUnexplained('other')).toBeUndefined();
  });

  it('cannot be invented by the agent', () => {
    append({ kind: 'kube_intent', params: unexplained });
    expect(commands.knownUnexplained('s')).toBeUndefined();
  });
});

describe('the writes of a command', () => {
  it('are counted; reads, dry runs and the writes of others are not', async () => {
    const seq = call();
    const intent = (params: object) => append({ writer: 'gateway', kind: 'kube_intent', params: { ...params } });
    intent({ verb: 'get', commandSeq: seq });
    intent({ verb: 'create', dryRun: true, commandSeq: seq });
    intent({ verb: 'create', commandSeq: seq - 1 });
    expect(await commands.latest('s')).toMatchObject({ seq, writes: 0, text: 'kubectl apply -f x' });
    intent({ verb: 'create', commandSeq: seq });
    append({ kind: 'tool_result', tool: 'shell' });
    expect(await commands.latest('s')).toMatchObject({ seq, writes: 1 });
  });
});

describe('what is open when a command is over', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is told after the grace, once', () => {
    const onOver = vi.fn();
    const seq = call();
    commands.whenOver('s', seq, onOver);
    append({ kind: 'tool_result', tool: 'shell' });
    vi.advanceTimersByTime(GRACE_MS - 1);
    expect(onOver).not.toHaveBeenCalled();
    vi.advanceTimersByTime(10);
    append({ kind: 'lifecycle' });
    vi.advanceTimersByTime(10_000);
    expect(onOver).toHaveBeenCalledTimes(1);
  });

  it('is told when the next command begins', () => {
    const onOver = vi.fn();
    commands.whenOver('s', call(), onOver);
    append({ kind: 'tool_result', tool: 'shell' });
    call();
    expect(onOver).toHaveBeenCalledTimes(1);
  });

  it('is not told after it was withdrawn', () => {
    const onOver = vi.fn();
    commands.whenOver('s', call(), onOver)();
    append({ kind: 'tool_result', tool: 'shell' });
    vi.advanceTimersByTime(10_000);
    expect(onOver).not.toHaveBeenCalled();
  });

  it('is told at once if the command is over already', () => {
    const onOver = vi.fn();
    const first = call();
    call();
    commands.whenOver('s', first, onOver);
    expect(onOver).toHaveBeenCalledTimes(1);
  });
});
