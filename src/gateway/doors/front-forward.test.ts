// The front of the doors alone: what is recorded before and after a request is forwarded, and what
// happens when its caller, its lease or its command ends meanwhile.

import { describe, expect, it, vi } from 'vitest';
import { useFront } from '../../../test/support/front-harness.ts';
import { NotAllowed } from '../../errors.ts';
import { BodyMemory } from '../body-memory.ts';

const front = useFront();
const { counted, open, refused, upstream, whenOver } = front;

it('records the intent before anything is sent, and the outcome before the answer ends', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }));
  const { ask } = await open({ plan });
  expect(await ask()).toEqual({ status: 201, body: 'made' });
  expect(steps).toEqual(['recorded', 'sent', { status: 201, body: Buffer.from('made') }]);
});

it.each([
  ['for the record', 2.2 * 1024 * 1024, 64 * 1024 * 1024],
  ['for the memory of its caller', 500_000, 100_000],
])('keeps the beginning of an answer that is too large %s, and sends all of it', async (_, size, share) => {
  front.memory = new BodyMemory({ total: share, share, alone: share });
  const whole = 'x'.repeat(size);
  const { plan, steps } = await upstream(() => ({ status: 200, body: whole }));
  const { ask, isIdle } = await open({ plan });
  const { status, body } = await ask();
  expect(status).toBe(200);
  expect(body === whole).toBe(true);
  expect(steps).toEqual(['recorded', 'sent', { status: 200, isPartial: true, body: expect.any(Buffer) }]);
  const outcome = steps.at(-1);
  const kept = typeof outcome === 'object' ? (outcome.body?.length ?? 0) : 0;
  expect(kept).toBeGreaterThan(0);
  expect(kept).toBeLessThan(Math.min(share, 2 * 1024 * 1024) + 128 * 1024);
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('records of a %s the very value that it sends', async (type) => {
  const { plan, forwarded } = await upstream(() => ({ status: 201, body: 'made' }), { upgrades: type === 'upgrade' });
  const { ask, upgrade } = await open({ plan });
  await (type === 'upgrade' ? upgrade() : ask());
  expect(forwarded).toHaveLength(2);
  expect(forwarded[1]).toBe(forwarded[0]);
});

it('sends method, path, headers and body as they are recorded', async () => {
  const seen: unknown[] = [];
  const { plan } = await upstream(({ method, url, headers }) => {
    seen.push(method, url, headers['x-header'], headers['content-length'] ?? headers['transfer-encoding']);
    return { status: 201, body: 'made' };
  });
  const { ask } = await open({ plan });
  await ask();
  expect(seen).toEqual(['POST', '/path', 'h', '4']);
});

it('sends nothing when the intent cannot be recorded', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    record: async () => {
      throw new NotAllowed('cannot be recorded');
    },
  });
  const { ask, isIdle } = await open({ plan });
  expect(await ask()).toEqual({ status: 403, body: 'cannot be recorded' });
  expect(steps).toEqual(['recorded']);
  expect(await isIdle()).toBe(true);
});

it('sends nothing when the lease ends while the intent is recorded, and says so', async () => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    record: async () => {
      front.alive = false;
    },
  });
  const { ask } = await open({ plan });
  expect((await ask()).status).toBe(403);
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('whether it was done') }]);
});

it('records the outcome as not known if no answer arrived', async () => {
  const { plan, steps } = await upstream(() => undefined);
  const { ask, isIdle } = await open({ plan });
  expect((await ask()).status).toBe(403);
  expect(steps).toEqual([
    'recorded',
    'sent',
    { status: null, ended: expect.stringContaining('whether it was done is not known') },
  ]);
  expect(await isIdle()).toBe(true);
});

it('records an upgrade before and after, and counts it once', async () => {
  const { plan, steps } = await upstream(() => undefined, { upgrades: true });
  const { upgrade, isIdle } = await open({ plan });
  expect((await upgrade()).status).toBe(101);
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(steps).toEqual(['recorded', 'sent', expect.objectContaining({ status: 101 })]);
  expect(counted.mock.calls).toEqual([['wanted', 101]]);
});

it('sends no upgrade when the lease ends while the intent is recorded, and says so', async () => {
  const { plan, steps } = await upstream(() => undefined, {
    upgrades: true,
    record: async () => {
      front.alive = false;
    },
  });
  const { upgrade, isIdle } = await open({ plan });
  expect((await upgrade()).status).toBe(403);
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('whether it was done') }]);
  expect(await isIdle()).toBe(true);
});

it('waits for the answer to an upgrade as long as its plan says', async () => {
  const { plan, steps } = await upstream(() => undefined, { upgrades: true, silent: true });
  const { upgrade } = await open({ plan });
  const { status, body } = await upgrade();
  expect({ status, body }).toEqual({ status: 403, body: expect.stringContaining('no answer within 100 ms') });
  expect(steps.at(-1)).toMatchObject({ status: null });
});

it.each(['request', 'upgrade'] as const)('sends nothing when the caller of a %s hangs up meanwhile', async (type) => {
  let recording = () => {};
  const began = new Promise<void>((resolve) => (recording = resolve));
  let go = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    upgrades: type === 'upgrade',
    record: async () => {
      recording();
      await gate;
    },
  });
  const { hangUp, isIdle } = await open({ plan });
  const hung = hangUp(type);
  await began;
  await hung();
  go();
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(steps).toEqual(['recorded', { status: null, ended: expect.stringContaining('the caller hung up') }]);
});

describe('a write that was sent', () => {
  /** An upstream that has done the write, and answers when told to. */
  async function slowUpstream() {
    let answer = () => {};
    const gate = new Promise<void>((resolve) => (answer = resolve));
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const made = await upstream(() => ({ status: 201, body: 'made' }), {
      before: async () => {
        arrive();
        await gate;
      },
    });
    return { ...made, arrived, answer };
  }

  it('is recorded with its answer, although its caller has hung up', async () => {
    const { plan, steps, arrived, answer } = await slowUpstream();
    const { hangUp, isIdle } = await open({ plan });
    const hung = hangUp('request');
    await arrived;
    await hung();
    answer();
    await vi.waitFor(async () => expect(await isIdle()).toBe(true));
    expect(steps.at(-1)).toEqual({ status: 201, body: Buffer.from('made'), ended: 'the caller hung up' });
  });

  it('is recorded with its answer, which its caller does not get after the lease has ended', async () => {
    const { plan, steps, arrived, answer } = await slowUpstream();
    const { ask, isIdle } = await open({ plan });
    const asked = ask().catch(() => 'cut');
    await arrived;
    front.endLease();
    // The caller is cut off at once, before there is an answer.
    expect(await asked).toBe('cut');
    answer();
    await vi.waitFor(async () => expect(await isIdle()).toBe(true));
    expect(steps.at(-1)).toMatchObject({ status: 201, ended: expect.stringContaining('the lease ended') });
  });
});

it.each(['request', 'upgrade'] as const)('does not send a %s that no command explains, and says so', async (type) => {
  const { plan, steps } = await upstream(() => ({ status: 201, body: 'made' }), {
    explanation: { unexplained: true },
    upgrades: type === 'upgrade',
  });
  const { ask, upgrade, isIdle } = await open({ plan });
  const answer = await (type === 'upgrade' ? upgrade() : ask());
  expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('no command of the attempt was running') });
  expect(steps).toEqual([
    'recorded',
    { status: 403, ended: 'refused by the gateway: no command of the attempt was running' },
  ]);
  expect(refused).toHaveBeenCalledWith({ door: 'kube', reason: 'OPLAB_NO_LEASE' });
  expect(await isIdle()).toBe(true);
});

it('cuts a connection that is still open when its command is over', async () => {
  const withdrawn = vi.fn();
  whenOver.mockImplementation((_, onOver) => {
    setTimeout(onOver, 50);
    return withdrawn;
  });
  const { plan, steps } = await upstream(() => undefined, { upgrades: true, silent: true });
  const { upgrade, isIdle } = await open({ plan });
  await upgrade();
  expect(whenOver).toHaveBeenCalledWith(1, expect.any(Function));
  expect(steps.at(-1)).toMatchObject({ ended: expect.stringContaining('command 1 has ended') });
  await vi.waitFor(async () => expect(await isIdle()).toBe(true));
  expect(withdrawn).toHaveBeenCalledTimes(1);
});
