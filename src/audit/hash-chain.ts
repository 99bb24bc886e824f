// The hash chain: what an entry's hash covers, and how to locate the fault in a broken chain.

import { createHash } from 'node:crypto';
import type { Entry } from './entry.ts';
import { lifecycleEvent, SEALED_EVENT } from './lifecycle.ts';

/** The fields that an entry's hash covers: all except the hash itself. */
export type HashedFields = Omit<Entry, 'hash'>;

/** A copy of a chain's head kept outside the chain, in the Incident's status or in the seal. */
export interface Anchor {
  /** Where the anchor is kept, for messages, for example "status.audit.headHash". */
  readonly source: string;
  readonly entries: number | undefined;
  readonly headHash: string;
  /** A sealed chain ends at the anchor. A live chain may have grown past it. */
  readonly sealed: boolean;
  /** Whoever can change the log can change this anchor too: it is part of the same file. */
  readonly own?: boolean;
}

/** One fault in a chain. `seq` is the row to check. */
export interface Finding {
  readonly kind:
    | 'changed'
    | 'rewritten'
    | 'missing'
    | 'swapped'
    | 'moved'
    | 'duplicate'
    | 'foreign'
    | 'truncated'
    | 'wrong-head'
    | 'after-seal'
    | 'blob-changed'
    | 'corrupt'
    | 'unreadable'
    | 'unsigned';
  readonly seq?: number;
  readonly message: string;
}

/**
 * JSON with sorted keys and no whitespace, so that equal values have equal bytes. Omits `undefined`
 * members.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** The SHA-256 digest in lower-case hex. */
export function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The hash that a session's first entry links to. */
export function genesisHash(session: string): string {
  return sha256(`oplab:${session}`);
}

/** The hash of an entry. It covers the previous hash and every field, in canonical form. */
export function entryHash(fields: HashedFields): string {
  const { prevHash, ...rest } = fields;
  return sha256(
    `${prevHash}\n${canonicalJson({
      session: rest.session,
      seq: rest.seq,
      time: rest.time,
      attempt: rest.attempt,
      writer: rest.writer,
      clientKey: rest.clientKey,
      kind: rest.kind,
      tool: rest.tool,
      params: rest.params,
      exitCode: rest.exitCode,
      durationMs: rest.durationMs,
      content: rest.content,
      blobDigest: rest.blobDigest,
    })}`,
  );
}

/**
 * Checks one session's chain in the order of `seq` and reports which rows are wrong.
 * A chain that was rewritten from some row to its end is consistent: only an anchor reveals that.
 */
export function verifyChain(session: string, entries: readonly Entry[], anchors: readonly Anchor[] = []): Finding[] {
  const findings: Finding[] = [];
  const displaced = displacedRows(session, entries);
  findings.push(...describeDisplaced(displaced));

  let previousSeq = 0;
  let previousHash: string | undefined = genesisHash(session);
  for (const row of entries) {
    if (row.session !== session) {
      findings.push({ kind: 'foreign', seq: row.seq, message: `row ${row.seq} belongs to session ${row.session}` });
    }
    if (row.seq === previousSeq) {
      findings.push({ kind: 'duplicate', seq: row.seq, message: `row ${row.seq} is stored twice` });
    } else if (row.seq > previousSeq + 1) {
      findings.push({ kind: 'missing', seq: previousSeq + 1, message: missingText(previousSeq + 1, row.seq - 1) });
      previousHash = undefined;
    }
    if (displaced.has(row.seq)) {
      // The row after a displaced row cannot link to it. Report that as one fault, not two.
      previousHash = undefined;
    } else {
      const intact = entryHash(row) === row.hash;
      if (!intact) {
        findings.push({
          kind: 'changed',
          seq: row.seq,
          message: `row ${row.seq} (${row.kind}) was changed: its fields do not match its hash`,
        });
      }
      if (previousHash !== undefined && row.prevHash !== previousHash && intact) {
        findings.push(
          previousSeq === 0
            ? {
                kind: 'rewritten',
                seq: row.seq,
                message: `row ${row.seq} does not link to the start of session ${session}`,
              }
            : {
                kind: 'rewritten',
                seq: previousSeq,
                message: `row ${previousSeq} was rewritten together with its hash: row ${row.seq} links to a different hash`,
              },
        );
      }
      previousHash = row.hash;
    }
    previousSeq = row.seq;
  }
  findings.push(...afterSeal(entries), ...againstAnchors(entries, anchors));
  return findings;
}

function missingText(from: number, to: number): string {
  return from === to ? `row ${from} is missing` : `rows ${from} to ${to} are missing`;
}

/**
 * Rows whose hash is right only for another position: the stored seq → the seq that the hash
 * covers.
 */
function displacedRows(session: string, entries: readonly Entry[]): Map<number, number> {
  const suspects = entries.filter((row) => entryHash(row) !== row.hash);
  const displaced = new Map<number, number>();
  if (suspects.length === 0) return displaced;
  // The links give the order in which the rows were written.
  const byPrevious = new Map(entries.map((row) => [row.prevHash, row]));
  const place = new Map<Entry, number>();
  let at = byPrevious.get(genesisHash(session));
  for (let seq = 1; at !== undefined && !place.has(at); seq += 1) {
    place.set(at, seq);
    at = byPrevious.get(at.hash);
  }
  for (const row of suspects) {
    const candidates = [place.get(row), ...suspects.map((other) => other.seq)];
    const proper = candidates.find(
      (seq) => seq !== undefined && seq !== row.seq && entryHash({ ...row, seq }) === row.hash,
    );
    if (proper !== undefined) displaced.set(row.seq, proper);
  }
  return displaced;
}

function describeDisplaced(displaced: ReadonlyMap<number, number>): Finding[] {
  const findings: Finding[] = [];
  for (const [stored, proper] of displaced) {
    if (displaced.get(proper) === stored) {
      if (stored < proper) {
        findings.push({ kind: 'swapped', seq: stored, message: `rows ${stored} and ${proper} were swapped` });
      }
    } else {
      findings.push({
        kind: 'moved',
        seq: stored,
        message: `row ${stored} was moved: it was written as row ${proper}`,
      });
    }
  }
  return findings;
}

/** Whether this entry closes its session. */
export function isSeal(row: Pick<Entry, 'kind' | 'writer' | 'params'>): boolean {
  return row.writer === 'gateway' && lifecycleEvent(row) === SEALED_EVENT;
}

function afterSeal(entries: readonly Entry[]): Finding[] {
  const seal = entries.find(isSeal);
  const later = seal === undefined ? undefined : entries.find((row) => row.seq > seal.seq);
  if (seal === undefined || later === undefined) return [];
  return [
    { kind: 'after-seal', seq: later.seq, message: `row ${later.seq} was added after the seal (row ${seal.seq})` },
  ];
}

function againstAnchors(entries: readonly Entry[], anchors: readonly Anchor[]): Finding[] {
  const findings: Finding[] = [];
  const last = entries.at(-1);
  for (const anchor of anchors) {
    const count = anchor.entries;
    const lastSeq = last?.seq ?? 0;
    if (count !== undefined && lastSeq < count) {
      findings.push({
        kind: 'truncated',
        seq: lastSeq + 1,
        message: `the end is cut off: ${missingText(lastSeq + 1, count)}; ${anchor.source} covers ${count} entries`,
      });
      continue;
    }
    if (anchor.sealed && count !== undefined && lastSeq > count) {
      findings.push({
        kind: 'after-seal',
        seq: count + 1,
        message: `row ${count + 1} was added after the seal; ${anchor.source} covers ${count} entries`,
      });
    }
    const head = count === undefined ? last : entries.find((row) => row.seq === count);
    if (head === undefined && count !== undefined && count > 0) continue; // reported as missing
    const found = head?.hash;
    if (found !== anchor.headHash && !(count === 0 && anchor.headHash === '')) {
      findings.push(
        count === undefined && entries.some((row) => row.hash === anchor.headHash)
          ? {
              kind: 'after-seal',
              seq: lastSeq,
              message: `rows were added after the last row that ${anchor.source} covers`,
            }
          : {
              kind: 'wrong-head',
              ...(head === undefined ? {} : { seq: head.seq }),
              message: `wrong head: row ${head?.seq ?? 0} has hash ${short(found)}, but ${anchor.source} is ${short(anchor.headHash)}${count === undefined ? '; the end is cut off, or the chain was rewritten' : '; the chain was rewritten at or before this row'}`,
            },
      );
    }
  }
  return findings;
}

function short(hash: string | undefined): string {
  return hash === undefined ? 'none' : `${hash.slice(0, 12)}…`;
}
