// Turns: one thing at a time, and each owner in turn.

import { describe, expect, it } from 'vitest';
import { Dropped, Turns } from './turns.ts';

describe('Turns', () => {
  it('gives every owner a turn before anyone has a second one', async () => {
    const turns = new Turns();
    const order: string[] = [];
    const work = (name: string) => async () => {
      await Promise.resolve();
      order.push(name);
    };
    await Promise.all([
      ...[1, 2, 3].map((number) => turns.take('many', work(`many ${number}`))),
      turns.take('few', work('few')),
      turns.take('other', work('other')),
    ]);
    // The first one begins at once. The owners then have their turns in the order in which they came.
    expect(order).toEqual(['many 1', 'many 2', 'few', 'other', 'many 3']);
  });

  it('goes on after a failure', async () => {
    const turns = new Turns();
    const failing = turns.take('a', () => Promise.reject(new Error('no')));
    const next = turns.take('a', async () => 'done');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('done');
  });

  it('drops what has not begun, and accepts more afterwards', async () => {
    const turns = new Turns();
    let finish = () => {};
    const running = turns.take('a', () => new Promise<void>((resolve) => (finish = resolve)));
    const waiting = turns.take('b', async () => undefined);
    turns.drop();
    await expect(waiting).rejects.toThrow(Dropped);
    finish();
    await running;
    expect(await turns.take('b', async () => 1)).toBe(1);
  });
});
