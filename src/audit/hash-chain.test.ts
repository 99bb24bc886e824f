// The verifier's finding for each way in which a chain can be wrong.

import { describe, expect, it } from 'vitest';
import type { Entry } from './entry.ts';
import { type Anchor, canonicalJson, entryHash, genesisHash, verifyChain } from './hash-chain.ts';

const session = 'incident-uid';

function at<T>(list: readonly T[], index: number): T {
  const item = list.at(index);
  if (item === undefined) throw new Error(`there is no item ${index}`);
  return item;
}

function chain(length: number): Entry[] {
  const entries: Entry[] = [];
  for (let seq = 1; seq <= length; seq += 1) {
    const fields = {
      session,
      seq,
      time: `2026-01-01T00:00:${String(seq).padStart(2, '0')}.000Z`,
      attempt: 1,
      writer: 'agent' as const,
      clientKey: `1-${seq}`,
      kind: 'reasoning' as const,
      tool: null,
      params: { n: seq, nested: { b: 1, a: [true, null] } },
      exitCode: null,
      durationMs: 5,
      content: `entry ${seq}`,
      blobDigest: null,
      prevHash: entries.at(-1)?.hash ?? genesisHash(session),
    };
    entries.push({ ...fields, hash: entryHash(fields) });
  }
  return entries;
}

/** Changes a row as a forger with the source code would: with a matching hash. */
function forged(row: Entry, change: Partial<Entry>): Entry {
  const fields = { ...row, ...change };
  return { ...fields, hash: entryHash(fields) };
}

const messages = (entries: readonly Entry[], anchors: readonly Anchor[] = []) =>
  verifyChain(session, entries, anchors).map((finding) => `${finding.kind} ${finding.seq ?? ''}: ${finding.message}`);

it('finds nothing wrong with a complete chain and its anchors', () => {
  const entries = chain(6);
  const live = { source: 'status.audit.headHash', entries: 4, headHash: at(entries, 3).hash, sealed: false };
  const seal = { source: 'status.audit.sealedHeadHash', entries: 6, headHash: at(entries, 5).hash, sealed: true };
  expect(messages(entries, [live, seal])).toEqual([]);
});

describe('a changed field', () => {
  const changes: Partial<Entry>[] = [
    { time: '2027-01-01T00:00:00.000Z' },
    { attempt: 2 },
    { writer: 'gateway' },
    { clientKey: 'x' },
    { kind: 'tool_call' },
    { tool: 'shell' },
    { params: { n: 4, nested: { b: 1, a: [true, null] } } },
    { exitCode: 0 },
    { durationMs: 6 },
    { content: 'entry three' },
    { blobDigest: 'aa' },
    { hash: 'f'.repeat(64) },
  ];
  for (const change of changes) {
    it(`(${Object.keys(change)[0]}) is found and its row is named`, () => {
      const entries = chain(5);
      entries[2] = { ...at(entries, 2), ...change };
      const found = verifyChain(session, entries);
      expect(found[0]).toMatchObject({ kind: 'changed', seq: 3 });
    });
  }

  it('with a matching hash is found by the next row', () => {
    const entries = chain(5);
    entries[2] = forged(at(entries, 2), { content: 'never happened' });
    expect(messages(entries)).toEqual([
      'rewritten 3: row 3 was rewritten together with its hash: row 4 links to a different hash',
    ]);
  });

  it('in the last row, with a matching hash, is found only by an anchor', () => {
    const entries = chain(5);
    const anchor = { source: 'status.audit.headHash', entries: 5, headHash: at(entries, 4).hash, sealed: false };
    entries[4] = forged(at(entries, 4), { content: 'never happened' });
    expect(messages(entries)).toEqual([]);
    expect(messages(entries, [anchor])[0]).toMatch(
      /^wrong-head 5: wrong head: row 5 .*rewritten at or before this row/,
    );
  });
});

it('names a missing row and a missing range of rows', () => {
  const entries = chain(7);
  expect(messages(entries.filter((row) => row.seq !== 3))).toEqual(['missing 3: row 3 is missing']);
  expect(messages(entries.filter((row) => row.seq < 3 || row.seq > 5))).toEqual(['missing 3: rows 3 to 5 are missing']);
  expect(messages(entries.filter((row) => row.seq > 1))).toEqual(['missing 1: row 1 is missing']);
});

it('names two swapped rows, adjacent or not', () => {
  for (const [a, b] of [
    [3, 4],
    [2, 5],
  ] as const) {
    const entries = chain(6);
    const first = at(entries, a - 1);
    const second = at(entries, b - 1);
    entries[a - 1] = { ...second, seq: a };
    entries[b - 1] = { ...first, seq: b };
    expect(messages(entries)).toEqual([`swapped ${a}: rows ${a} and ${b} were swapped`]);
  }
});

it('finds a duplicated row and a row of another session', () => {
  const entries = chain(3);
  expect(messages([at(entries, 0), at(entries, 1), at(entries, 1), at(entries, 2)])[0]).toMatch(/^duplicate 2/);
  expect(messages([at(entries, 0), forged(at(entries, 1), { session: 'other' })])[0]).toMatch(/^foreign 2/);
});

describe('a cut-off end', () => {
  it('is found by the count of an anchor', () => {
    const entries = chain(6);
    const anchor = { source: 'status.audit.sealedHeadHash', entries: 6, headHash: at(entries, 5).hash, sealed: true };
    expect(messages(entries.slice(0, 5), [anchor])).toEqual([
      'truncated 6: the end is cut off: row 6 is missing; status.audit.sealedHeadHash covers 6 entries',
    ]);
    expect(messages([], [anchor])[0]).toMatch(/rows 1 to 6 are missing/);
  });

  it('is found by the hash of an anchor that has no count', () => {
    const entries = chain(6);
    const anchor = {
      source: 'status.audit.sealedHeadHash',
      entries: undefined,
      headHash: at(entries, 5).hash,
      sealed: true,
    };
    expect(messages(entries.slice(0, 5), [anchor])[0]).toMatch(/^wrong-head 5: .*cut off/);
  });
});

it('finds rows that were added after the seal', () => {
  const entries = chain(4);
  const sealFields = {
    ...at(entries, 2),
    writer: 'gateway' as const,
    kind: 'lifecycle' as const,
    params: { event: 'sealed' },
  };
  const seal = { ...sealFields, hash: entryHash(sealFields) };
  const late = forged(at(entries, 3), { prevHash: seal.hash });
  expect(messages([at(entries, 0), at(entries, 1), seal, late])).toEqual([
    'after-seal 4: row 4 was added after the seal (row 3)',
  ]);
});

it('does not accept the chain of one session for another', () => {
  const entries = chain(2).map((row) => ({ ...row, session: 'other' }));
  expect(verifyChain('other', entries).length).toBeGreaterThan(0);
});

it('writes equal values as equal bytes', () => {
  expect(canonicalJson({ b: [1, { d: null, c: 'ü' }], a: undefined, A: -0 })).toBe(
    '{"A":0,"b":[1,{"c":"ü","d":null}]}',
  );
});
