// A secret in live output is not shown, wherever the output is divided into chunks.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Redactor } from '../audit/redaction.ts';
import { LiveOutput } from './live-output.ts';

const LITERAL = 'kV8-known-value-of-the-gateway-7731';
const PEM = Array.from({ length: 24 }, (_, n) => `MIIEvQIBADANBgkqh${'aZ3bY9cX7dW5eV1f'.repeat(3)}${n}`.slice(0, 64));
const SECRETS: readonly [string, string, string][] = [
  ['a known value', `before ${LITERAL} after\n`, LITERAL],
  ['a password in a flag', 'mysql --password=hunter22correcthorse -e q\n', 'hunter22correcthorse'],
  ['a bearer token', 'Authorization: Bearer abcdefghij0123456789ABCDEFGHIJ\n', 'abcdefghij0123456789ABCDEFGHIJ'],
  [
    'a private key of 24 lines',
    `-----BEGIN PRIVATE KEY-----\n${PEM.join('\n')}\n-----END PRIVATE KEY-----\n`,
    PEM.join(''),
  ],
];

let live: LiveOutput;
let shown: string;
beforeEach(() => {
  vi.useFakeTimers();
  const redactor = new Redactor([LITERAL]);
  live = new LiveOutput((text) => redactor.text(text));
  shown = '';
});
afterEach(() => vi.useRealTimers());

const watch = () => live.subscribe('s', ({ text }) => (shown += text));
const publish = (text: string) => live.publish('s', { callKey: '1', stream: 'stdout', text });

/** A part of the secret of eight characters that the text contains. */
function leaked(text: string, secret: string): string | undefined {
  for (let at = 0; at + 8 <= secret.length; at += 1) {
    const part = secret.slice(at, at + 8);
    if (text.includes(part)) return part;
  }
  return undefined;
}

function* randomNumbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state / 2 ** 31;
  }
}

describe('live output', () => {
  it.each(SECRETS)('does not show %s, however the text is divided', (_, text, secret) => {
    const random = randomNumbers(7);
    const number = (below: number) => Math.floor(random.next().value * below);
    const filler = (size: number) => 'ordinary output of a command\n'.repeat(40).slice(0, size);
    for (let round = 0; round < 150; round += 1) {
      const whole = `${filler(number(1100))}\n${text}${filler(number(1100))}\n`;
      const start = whole.indexOf(text);
      // One cut is always within the secret or beside it.
      const cuts = [start + number(text.length + 1), ...Array.from({ length: number(5) }, () => number(whole.length))];
      const places = [0, ...cuts.sort((a, b) => a - b), whole.length];
      shown = '';
      const stop = watch();
      for (const [n, place] of places.slice(1).entries()) publish(whole.slice(places[n], place));
      live.end('s', '1');
      stop();
      expect(leaked(shown, secret), JSON.stringify({ places, shown })).toBeUndefined();
      expect(shown).toContain('[redacted:');
    }
  });

  it.each(SECRETS.slice(0, 3))('does not show %s of which a part comes after a silence', (_, text, secret) => {
    for (let cut = 1; cut < text.length; cut += 1) {
      shown = '';
      const stop = watch();
      publish(`one\n${text.slice(0, cut)}`);
      vi.advanceTimersByTime(5000);
      expect(shown).toContain('one\n');
      publish(text.slice(cut));
      live.end('s', '1');
      stop();
      expect(leaked(shown, secret)).toBeUndefined();
    }
  });

  it('does not show the second half of a secret to whoever begins to watch', () => {
    publish(`${'x'.repeat(5000)}\npassword=hunter22`);
    watch();
    publish('correcthorse\ndone\n');
    live.end('s', '1');
    expect(leaked(shown, 'hunter22correcthorse')).toBeUndefined();
    expect(shown).toContain('done');
  });

  it('shows all other text once and in order, and lines of a silent program after a second', () => {
    watch();
    const text = Array.from({ length: 5000 }, (_, n) => `line ${n} 🦀\n`).join('');
    for (let at = 0; at < text.length; at += 777) publish(text.slice(at, at + 777));
    expect(text.startsWith(shown)).toBe(true);
    expect(text.length - shown.length).toBeLessThanOrEqual(513);
    vi.advanceTimersByTime(1000);
    expect(shown).toBe(text);
    publish('no line end');
    vi.advanceTimersByTime(60_000);
    live.end('s', '1');
    expect(shown).toBe(`${text}no line end`);
  });

  it('keeps the streams apart', () => {
    watch();
    publish('password=');
    live.publish('s', { callKey: '1', stream: 'stderr', text: 'a warning\n' });
    publish('hunter22correcthorse\n');
    live.end('s', '1');
    expect(leaked(shown, 'hunter22correcthorse')).toBeUndefined();
    expect(shown).toContain('a warning');
  });

  it('stops showing a stream that may be one endless secret, and says so', () => {
    watch();
    publish(`password=${'a1'.repeat(100)}`);
    for (let n = 0; n < 200; n += 1) publish('b2'.repeat(400));
    publish('\nmore\n');
    live.end('s', '1');
    expect(shown).not.toContain('b2b2b2b2');
    expect(shown.length).toBeLessThan(1000);
    expect(shown).toContain('the rest of this output is not shown');
  });
});
