// The status tail stays within its bounds, whatever the entries contain.

import { describe, expect, it } from 'vitest';
import { withoutControls } from './controls.ts';
import type { Entry } from './entry.ts';
import { entryText, statusTail, truncateToBytes } from './excerpt.ts';

function entry(fields: Partial<Entry>): Entry {
  return {
    session: 's',
    seq: 1,
    time: '2026-01-01T00:00:00.000Z',
    attempt: 1,
    writer: 'agent',
    clientKey: 'k',
    kind: 'reasoning',
    tool: null,
    params: null,
    exitCode: null,
    durationMs: null,
    content: '',
    blobDigest: null,
    prevHash: '',
    hash: '',
    ...fields,
  };
}

describe('statusTail of long texts', () => {
  it('takes no longer than for short ones', () => {
    const time = (command: string) => {
      const entries = Array.from({ length: 20 }, () => entry({ kind: 'tool_call', params: { command } }));
      const started = performance.now();
      for (let n = 0; n < 20; n += 1) statusTail(entries);
      return performance.now() - started;
    };
    time('warm up '.repeat(1000));
    expect(time('x \u001b[31m'.repeat(100_000))).toBeLessThan(20 * time('x \u001b[31m'.repeat(1000)) + 50);
  });
});

describe('truncateToBytes', () => {
  it.each(['a', 'ü', '€', '🦊', 'a🦊', 'ü€'])('never splits a character of %s and never exceeds the bound', (unit) => {
    for (let bound = 3; bound < 40; bound += 1) {
      const cut = truncateToBytes(unit.repeat(60), bound);
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(bound);
      expect(Buffer.byteLength(cut)).toBeGreaterThan(bound - 5);
      expect(cut).not.toContain('\ufffd');
      expect(cut.endsWith('…')).toBe(true);
    }
  });

  it('returns a text that fits unchanged', () => {
    expect(truncateToBytes('üüü', 6)).toBe('üüü');
  });
});

it('keeps the last 20 entries, each in 512 bytes', () => {
  const entries = Array.from({ length: 30 }, (_, n) => entry({ seq: n + 1, content: '🦊'.repeat(1000) }));
  const tail = statusTail(entries);
  expect(tail.map((line) => line.seq)).toEqual(Array.from({ length: 20 }, (_, n) => n + 11));
  for (const line of tail) expect(Buffer.byteLength(line.text)).toBeLessThanOrEqual(512);
});

it('shows the command of a call, the object of a write and the event of a lifecycle entry', () => {
  expect(
    entryText(entry({ kind: 'tool_call', tool: 'shell', params: { command: 'kubectl get pods' }, content: 'why' })),
  ).toBe('kubectl get pods');
  const cloaked = "ls; : '\u001b]'; kubectl delete pvc --all; x\u001b[31m";
  expect(entryText(entry({ kind: 'tool_call', tool: 'shell', params: { command: cloaked } }))).toBe(
    "ls; : '␛]'; kubectl delete pvc --all; x␛[31m",
  );
  expect(
    entryText(
      entry({
        kind: 'kube_intent',
        params: { verb: 'patch', resource: 'statefulsets', subresource: 'scale', namespace: 'tikv', name: 'tikv-tikv' },
      }),
    ),
  ).toBe('patch statefulsets/scale tikv/tikv-tikv');
  expect(entryText(entry({ kind: 'lifecycle', params: { event: 'isolation' } }))).toBe('isolation');
});

it('removes terminal escapes from a text but keeps its characters', () => {
  expect(withoutControls('\u001b[31mred\u001b[0m\u001b]0;title\u0007 \u0008a\tb\nc \u202eüñ🦊\r')).toBe(
    'red␛]0;title a\tb\nc üñ🦊',
  );
});
