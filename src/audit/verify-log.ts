// Verifies a log as a whole: its leaves against its sessions, and what was signed against both.

import {
  type Checkpoint,
  hashLeaf,
  type LogLeaf,
  openCheckpoint,
  openSignedNotes,
  type SessionHead,
  type SignedNotes,
} from './checkpoint.ts';
import type { Finding } from './hash-chain.ts';
import { MerkleTree } from './merkle.ts';
import type { NoteVerifier } from './signed-note.ts';

/** What the log holds for one session. */
export interface SessionFacts {
  /** The hash of each row by its number. */
  readonly hashes: ReadonlyMap<number, string>;
  readonly seal: { readonly entries: number; readonly headHash: string } | undefined;
  /** The rows were deleted by a prune. `seal` is what the tombstone says. */
  readonly isPruned?: boolean;
}

/** Something signed, and where it is from. A saved checkpoint comes without the heads. */
export interface SignedStatement {
  /** For messages, for example "the ConfigMap". */
  readonly source: string;
  readonly notes: { readonly checkpoint: string; readonly heads?: string | undefined };
}

/** A key to trust, and why. */
export interface TrustedKeys {
  readonly verifiers: readonly NoteVerifier[];
  /** Where they are from, for example "--public-key". */
  readonly source: string;
  /** The keys come from the same place as what they signed. */
  readonly onFirstUse: boolean;
}

export interface LogEvidence {
  /** Undefined if the log was written by a version that had no leaves. */
  readonly leaves: readonly LogLeaf[] | undefined;
  /** How many rows are not valid leaves. */
  readonly unreadableLeaves?: number;
  /** The sessions that were read. */
  readonly sessions: ReadonlyMap<string, SessionFacts>;
  /**
   * How many leaves there were before the first session was read. Sessions may not show what later
   * leaves say. Default: all.
   */
  readonly settled?: number;
  /** All sessions of the log were read, so that a leaf without one is a fault. */
  readonly complete: boolean;
  readonly statements: readonly SignedStatement[];
  readonly keys: TrustedKeys | undefined;
}

/** How much of a session a signature covers. */
export interface SignedExtent {
  /** The name of the key. */
  readonly by: string;
  /** The entries up to the signed head. 0 if the session was opened after the last checkpoint. */
  readonly entries: number;
}

export interface LogReport {
  /** Faults of the log as a whole. */
  readonly findings: readonly Finding[];
  readonly bySession: ReadonlyMap<string, readonly Finding[]>;
  readonly size: number;
  /** The largest checkpoint whose signature was checked. */
  readonly checkpoint: (Checkpoint & { readonly vkey: string }) | undefined;
  readonly signed: ReadonlyMap<string, SignedExtent>;
}

/** Checks everything that binds sessions to each other. */
export function verifyLog(evidence: LogEvidence): LogReport {
  const { sessions, unreadableLeaves = 0 } = evidence;
  const leaves = evidence.leaves ?? [];
  const findings: Finding[] = [];
  const bySession = new Map<string, Finding[]>();
  const add = (session: string, finding: Finding) => {
    if (!sessions.has(session)) findings.push({ ...finding, message: `session ${session}: ${finding.message}` });
    else bySession.set(session, [...(bySession.get(session) ?? []), finding]);
  };
  if (unreadableLeaves > 0) {
    findings.push({
      kind: 'corrupt',
      message: `${unreadableLeaves} leaves of the log were changed: they are not valid`,
    });
  }
  const gap = leaves.findIndex(({ index }, at) => index !== at);
  if (gap >= 0) findings.push({ kind: 'missing', message: `leaf ${gap} of the log is missing` });
  if (evidence.leaves !== undefined) checkLeaves(evidence, leaves, add);

  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(hashLeaf(leaf));
  let checkpoint: LogReport['checkpoint'];
  const heads = new Map<string, SessionHead>();
  for (const statement of evidence.keys === undefined ? [] : evidence.statements) {
    const opened = openStatement(statement, evidence.keys?.verifiers ?? []);
    if ('problem' in opened) {
      findings.push({ kind: 'unsigned', message: `${statement.source}: ${opened.problem}` });
      continue;
    }
    findings.push(...compareTree(opened, tree, statement.source));
    for (const head of opened.heads) {
      const fault = compareHead(head, evidence, statement.source);
      if (fault !== undefined) add(head.session, fault);
      if ((heads.get(head.session)?.entries ?? 0) < head.entries) heads.set(head.session, head);
    }
    if (checkpoint === undefined || checkpoint.size <= opened.size) {
      const { origin, size, root, signedBy } = opened;
      checkpoint = { origin, size, root, vkey: signedBy.vkey };
    }
  }
  if (checkpoint !== undefined) checkPruned(sessions, leaves.slice(0, checkpoint.size), add);
  if (evidence.keys !== undefined && evidence.statements.length === 0) {
    findings.push({ kind: 'unsigned', message: 'the log has no signed checkpoint' });
  }
  return {
    findings,
    bySession,
    size: tree.size,
    checkpoint,
    signed:
      checkpoint === undefined
        ? new Map()
        : signedExtents(sessions, leaves.slice(0, checkpoint.size), checkpoint.origin, heads),
  };
}

function openStatement({ notes }: SignedStatement, known: readonly NoteVerifier[]) {
  const { checkpoint, heads } = notes;
  if (heads !== undefined) return openSignedNotes({ checkpoint, heads } satisfies SignedNotes, known);
  const opened = openCheckpoint(checkpoint, known);
  return 'problem' in opened ? opened : { ...opened, heads: [] };
}

function checkLeaves(
  { sessions, complete, settled = Number.POSITIVE_INFINITY }: LogEvidence,
  leaves: readonly LogLeaf[],
  add: (session: string, finding: Finding) => void,
): void {
  const opened = new Map<string, LogLeaf>();
  const sealed = new Map<string, LogLeaf>();
  for (const leaf of leaves) {
    const places = leaf.event === 'opened' ? opened : sealed;
    // The first one counts: whoever may append could give a session another beginning and end.
    if (!places.has(leaf.session)) places.set(leaf.session, leaf);
    else {
      const message = `leaf ${leaf.index} of the log repeats that session ${leaf.session} was ${leaf.event}`;
      add(leaf.session, { kind: 'duplicate', message });
    }
  }
  for (const [session, { hashes, seal, isPruned }] of sessions) {
    const first = opened.get(session);
    const found = sealed.get(session);
    const last = found !== undefined && found.index >= settled && seal === undefined ? undefined : found;
    if (isPruned === true) {
      if (last === undefined || last.entries !== seal?.entries || last.hash !== seal.headHash) {
        add(session, { kind: 'rewritten', message: 'its tombstone is not what the log recorded when it was sealed' });
      }
      continue;
    }
    if (first === undefined) {
      if (hashes.size > 0 || seal !== undefined) {
        add(session, { kind: 'foreign', message: 'the log has no record that this session was opened' });
      }
    } else if (first.entries !== 1 || hashes.get(1) !== first.hash) {
      add(session, {
        kind: 'rewritten',
        seq: 1,
        message: `row 1 is not the one with which the session was opened (leaf ${first.index})`,
      });
    }
    if (last === undefined && seal !== undefined) {
      add(session, { kind: 'foreign', message: 'the log has no record that this session was sealed' });
    }
    if (last !== undefined && seal === undefined) {
      add(session, {
        kind: 'truncated',
        message: `its seal is missing: leaf ${last.index} covers ${last.entries} entries`,
      });
    }
    if (last !== undefined && (hashes.get(last.entries) !== last.hash || (seal && seal.entries !== last.entries))) {
      add(session, {
        kind: 'rewritten',
        seq: last.entries,
        message: `row ${last.entries} is not the one with which the session was sealed (leaf ${last.index})`,
      });
    }
  }
  if (!complete) return;
  for (const { session, index, event } of leaves) {
    if (!sessions.has(session) && index < settled) {
      add(session, {
        kind: 'missing',
        message: `it was removed from the log: leaf ${index} says that it was ${event}`,
      });
    }
  }
}

/** Of a pruned session only the leaf of its seal is left, so this one has to be signed. */
function checkPruned(
  sessions: LogEvidence['sessions'],
  signed: readonly LogLeaf[],
  add: (session: string, finding: Finding) => void,
): void {
  const sealed = new Set(signed.flatMap(({ event, session }) => (event === 'sealed' ? [session] : [])));
  for (const [session, { isPruned }] of sessions) {
    if (isPruned !== true || sealed.has(session)) continue;
    const message = 'it was pruned, but its seal is not signed: nothing shows what its entries were';
    add(session, { kind: 'unsigned', message });
  }
}

function compareTree(signed: Checkpoint, tree: MerkleTree, source: string): Finding[] {
  if (signed.size > tree.size) {
    const message = `the log was set back or replaced: ${source} covers ${signed.size} leaves, but the log has ${tree.size}`;
    return [{ kind: 'truncated', message }];
  }
  const root = tree.root(signed.size).toString('base64');
  if (root === signed.root) return [];
  const message = `the first ${signed.size} leaves of the log have the root ${root}, but ${source} says ${signed.root}`;
  return [{ kind: 'rewritten', message }];
}

function compareHead(head: SessionHead, { sessions, complete }: LogEvidence, source: string): Finding | undefined {
  const facts = sessions.get(head.session);
  if (facts === undefined && !complete) return undefined;
  // The leaf of its seal covers the rows that are gone.
  if (facts?.isPruned === true) return undefined;
  const found = facts?.hashes.get(head.entries);
  if (found === head.headHash) return undefined;
  const said = `the list of heads in ${source} covers ${head.entries} entries`;
  return found === undefined
    ? { kind: 'truncated', seq: head.entries, message: `row ${head.entries} is missing; ${said}` }
    : {
        kind: 'wrong-head',
        seq: head.entries,
        message: `wrong head: row ${head.entries} has another hash than signed; ${said}`,
      };
}

/** What the signature of a checkpoint and its heads covers of each session. */
function signedExtents(
  sessions: LogEvidence['sessions'],
  leaves: readonly LogLeaf[],
  by: string,
  heads: ReadonlyMap<string, SessionHead>,
): Map<string, SignedExtent> {
  const extents = new Map<string, SignedExtent>();
  for (const session of sessions.keys()) extents.set(session, { by, entries: heads.get(session)?.entries ?? 0 });
  for (const { session, entries } of leaves) {
    const known = extents.get(session);
    if (known !== undefined && known.entries < entries) extents.set(session, { by, entries });
  }
  return extents;
}
