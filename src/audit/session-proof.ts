// What proves, without the log, that a signed log holds one session: the signed notes, and the paths
// of the session's leaves in the Merkle tree.

import * as z from 'zod';
import { InvalidInput } from '../errors.ts';
import {
  checkpointSize,
  hashLeaf,
  type LogLeaf,
  openCheckpoint,
  openSignedNotes,
  type SignedLog,
  type SignedNotes,
} from './checkpoint.ts';
import type { Entry } from './entry.ts';
import { type Finding, isSeal } from './hash-chain.ts';
import { isIncluded, MerkleTree } from './merkle.ts';
import type { LogReport, SignedExtent, SignedStatement, TrustedKeys } from './verify-log.ts';

/** A SHA-256 digest in base64. */
const digest = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);
const place = z.strictObject({
  index: z.number().int().min(0).meta({ description: 'The number of leaves of the log before this one.' }),
  path: z.array(digest).max(64).meta({ description: 'The audit path of the leaf: RFC 6962, section 2.1.1.' }),
});

/** The leaves themselves are not in it: they follow from the entries. */
export const sessionProof = z.strictObject({
  checkpoint: z.string().meta({ description: 'The checkpoint of the log: c2sp.org/tlog-checkpoint.' }),
  heads: z
    .string()
    .nullable()
    .meta({ description: 'The signed heads of all running sessions. Null if the seal is a leaf of the checkpoint.' }),
  opened: place.nullable().meta({ description: 'The leaf of the first entry. Null if the checkpoint is older.' }),
  sealed: place.nullable().meta({ description: 'The leaf of the seal. Null if the checkpoint is older than it.' }),
});
export type SessionProof = z.infer<typeof sessionProof>;

/** A signed log from which proofs of its sessions are taken. */
export class ProofSource {
  readonly #notes: SignedNotes;
  readonly #leaves: readonly LogLeaf[];
  readonly #tree = new MerkleTree();

  /** @param leaves at least those that the checkpoint covers */
  constructor(notes: SignedNotes, leaves: readonly LogLeaf[]) {
    this.#notes = notes;
    this.#leaves = leaves.slice(0, checkpointSize(notes.checkpoint) ?? 0);
    for (const leaf of this.#leaves) this.#tree.append(hashLeaf(leaf));
  }

  /** The proof of one session, which is not checked here. */
  proofOf(session: string): SessionProof {
    const placeOf = (event: LogLeaf['event']) => {
      const leaf = this.#leaves.find((one) => one.session === session && one.event === event);
      if (leaf === undefined) return null;
      return { index: leaf.index, path: this.#tree.inclusionProof(leaf.index).map((node) => node.toString('base64')) };
    };
    const sealed = placeOf('sealed');
    const { checkpoint, heads } = this.#notes;
    // The heads name other sessions, which a proof of the seal does not need.
    return { checkpoint, heads: sealed === null ? heads : null, opened: placeOf('opened'), sealed };
  }
}

/** What a proof shows. */
export interface ProofReport {
  readonly findings: readonly Finding[];
  /** Undefined if nothing is proven. */
  readonly signed: SignedExtent | undefined;
  readonly checkpoint: LogReport['checkpoint'];
}

const unsigned = (message: string): Finding => ({ kind: 'unsigned', message });

/**
 * Checks a proof against the entries that it is said to be about.
 * @param saved checkpoints from elsewhere, which must be those of the proof
 * @throws InvalidInput if a saved checkpoint cannot be compared with the proof
 */
export function verifyProof(
  proof: SessionProof | undefined,
  session: string,
  entries: readonly Entry[],
  keys: TrustedKeys,
  saved: readonly SignedStatement[] = [],
): ProofReport {
  const fail = (finding: Finding): ProofReport => ({ findings: [finding], signed: undefined, checkpoint: undefined });
  if (proof === undefined) return fail(unsigned('nothing proves that a signed log holds this session'));
  const log = openProof(proof, keys);
  if ('problem' in log) return fail(unsigned(`its proof: ${log.problem}`));
  const findings = saved.flatMap((statement) => compareSaved(log, statement, keys));
  const { extent, faults } = proveEntries(proof, log, session, entries);
  findings.push(...faults);
  const { origin, size, root, signedBy } = log;
  if (findings.length > 0) return { findings, signed: undefined, checkpoint: undefined };
  return {
    findings,
    signed: { by: origin, entries: extent },
    checkpoint: { origin, size, root, vkey: signedBy.vkey },
  };
}

function openProof({ checkpoint, heads }: SessionProof, { verifiers }: TrustedKeys): SignedLog | { problem: string } {
  if (heads !== null) return openSignedNotes({ checkpoint, heads }, verifiers);
  const opened = openCheckpoint(checkpoint, verifiers);
  return 'problem' in opened ? { problem: `the checkpoint is not valid: ${opened.problem}` } : { ...opened, heads: [] };
}

/** Two checkpoints of different sizes could be compared only with the whole log. */
function compareSaved(log: SignedLog, { source, notes }: SignedStatement, keys: TrustedKeys): Finding[] {
  const opened = openCheckpoint(notes.checkpoint, keys.verifiers);
  if ('problem' in opened) return [unsigned(`${source}: ${opened.problem}`)];
  if (opened.origin !== log.origin || opened.size !== log.size) {
    throw new InvalidInput(
      `--checkpoint ${source} is of ${opened.origin} with ${opened.size} leaves, but the proof is of ${log.origin} with ${log.size}; ` +
        'an export can be compared only with the checkpoint that it was made with: verify the log itself, or omit --checkpoint',
    );
  }
  if (opened.root === log.root) return [];
  const message = `the log was signed twice in different ways: the root of ${log.size} leaves is ${log.root} in the proof, but ${opened.root} in ${source}`;
  return [{ kind: 'rewritten', message }];
}

/** How many of the entries are proven, and what contradicts the proof. */
function proveEntries(
  proof: SessionProof,
  log: SignedLog,
  session: string,
  entries: readonly Entry[],
): { readonly extent: number; readonly faults: Finding[] } {
  const faults: Finding[] = [];
  const [first, last] = [entries[0], entries.at(-1)];
  const isProven = (event: LogLeaf['event'], { seq, hash }: Entry, { index, path }: z.infer<typeof place>) =>
    isIncluded(
      hashLeaf({ index, event, session, entries: seq, hash }),
      index,
      log.size,
      path.map((node) => Buffer.from(node, 'base64')),
      Buffer.from(log.root, 'base64'),
    );
  if (first === undefined || last === undefined) return { extent: 0, faults: [unsigned('there are no entries')] };
  if (proof.opened === null) {
    const message = 'it is not signed: the signed checkpoint does not cover its opening; export it again';
    return { extent: 0, faults: [unsigned(message)] };
  }
  if (!isProven('opened', first, proof.opened)) {
    const message = 'row 1 is not the one with which the signed log opened a session at this place';
    faults.push({ kind: 'rewritten', seq: 1, message });
  }
  if (isSeal(last)) {
    if (proof.sealed === null) {
      faults.push(unsigned('its seal is not signed: the signed checkpoint is older; export it again'));
    } else if (!isProven('sealed', last, proof.sealed)) {
      const message = `row ${last.seq} is not the one with which the signed log sealed a session at this place`;
      faults.push({ kind: 'rewritten', seq: last.seq, message });
    }
    return { extent: last.seq, faults };
  }
  const head = log.heads.find((one) => one.session === session);
  if (proof.sealed !== null || head === undefined) {
    // The heads name every session that was not sealed when the checkpoint was signed.
    faults.push({ kind: 'truncated', message: 'the end is cut off: the signed log does not say that it still runs' });
    return { extent: 0, faults };
  }
  const found = entries.find(({ seq }) => seq === head.entries);
  if (found === undefined) {
    const message = `the end is cut off: row ${head.entries} is missing; the signed list of heads covers it`;
    faults.push({ kind: 'truncated', seq: head.entries, message });
  } else if (found.hash !== head.headHash) {
    const message = `wrong head: row ${head.entries} has another hash than the signed list of heads`;
    faults.push({ kind: 'wrong-head', seq: head.entries, message });
  }
  return { extent: head.entries, faults };
}
