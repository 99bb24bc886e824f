// Verifies a session's chain against its file, its seal and the Incident's status. Works offline.

import type { AuditStatus } from '../api/incident-status.ts';
import { errorMessage, InvalidInput } from '../errors.ts';
import { AuditDatabase, type UnreadableRow } from './database.ts';
import type { Entry } from './entry.ts';
import { type Anchor, type Finding, isSeal, sha256, verifyChain } from './hash-chain.ts';
import { openedParams } from './lifecycle.ts';
import type { SessionSummary } from './log.ts';
import type { Tombstone } from './prune.ts';
import { type ProofReport, type SessionProof, verifyProof } from './session-proof.ts';
import {
  type LogEvidence,
  type LogReport,
  type SessionFacts,
  type SignedExtent,
  type SignedStatement,
  type TrustedKeys,
  verifyLog,
} from './verify-log.ts';

/** The result for one session. It is consistent if there are no findings. */
export interface SessionReport {
  readonly session: string;
  readonly incident: { readonly namespace: string; readonly name: string };
  readonly entries: number;
  readonly sealed: boolean;
  /** The anchors that the chain was checked against. Empty if only the chain was checked. */
  readonly anchors: readonly string[];
  /** At least one of the anchors was kept outside the log. */
  readonly independent: boolean;
  readonly blobs: { readonly checked: number; readonly pruned: number };
  /** What a checked signature covers. Undefined if no signature was checked. */
  readonly signed?: SignedExtent | undefined;
  /** It came from an export of another log, which is the one that has signed it. */
  readonly imported?: boolean;
  readonly findings: readonly Finding[];
  /** What is left of a session whose entries were deleted. */
  readonly pruned?: { readonly at: string; readonly headHash: string };
}

export interface FileReport {
  readonly path: string;
  /** The file is no log: every session in it is proven by itself, or not at all. */
  readonly isImported: boolean;
  /** Faults of the file as a whole. */
  readonly findings: readonly Finding[];
  /** The newest checkpoint whose signature was checked. */
  readonly checkpoint: LogReport['checkpoint'];
  readonly sessions: readonly SessionReport[];
}

/** Adds what a verification of the whole log has found to the reports of its sessions. */
export function withLogReport(sessions: readonly SessionReport[], log: LogReport): SessionReport[] {
  return sessions.map((report) => ({
    ...report,
    signed: log.signed.get(report.session),
    findings: [...report.findings, ...(log.bySession.get(report.session) ?? [])].sort(
      (a, b) => (a.seq ?? 0) - (b.seq ?? 0),
    ),
  }));
}

/** The anchors in an Incident's status, strongest first. */
export function statusAnchors(audit: AuditStatus | undefined): Anchor[] {
  if (audit === undefined) return [];
  const { entries, headHash, finalHeadHash, sealedHeadHash } = audit;
  const anchors: Anchor[] = [];
  // The count applies to the seal only if the gateway wrote both at the same time.
  const sealedEntries = finalHeadHash !== undefined && finalHeadHash === headHash ? entries : undefined;
  if (sealedHeadHash !== undefined) {
    anchors.push({
      source: 'status.audit.sealedHeadHash',
      entries: sealedEntries,
      headHash: sealedHeadHash,
      sealed: true,
    });
  }
  if (finalHeadHash !== undefined && finalHeadHash !== sealedHeadHash) {
    anchors.push({
      source: 'status.audit.finalHeadHash',
      entries: sealedEntries,
      headHash: finalHeadHash,
      sealed: true,
    });
  }
  if (headHash !== undefined && entries !== undefined && headHash !== sealedHeadHash && headHash !== finalHeadHash) {
    anchors.push({ source: 'status.audit.headHash', entries, headHash, sealed: false });
  }
  return anchors;
}

/** The input for a session's report, from any source. */
export interface SessionEvidence {
  readonly session: string;
  readonly incident: { readonly namespace: string; readonly name: string };
  readonly entries: readonly Entry[];
  readonly unreadable?: readonly UnreadableRow[];
  readonly sealed: boolean;
  readonly anchors: readonly Anchor[];
  /**
   * The SHA-256 of the text that is stored under a digest; undefined if there is none. Omit it to
   * check the chain without the texts.
   */
  readonly storedDigest?: (digest: string) => string | undefined;
}

/** Verifies one session. */
export function verifySession(evidence: SessionEvidence): SessionReport {
  const { session, entries, unreadable = [] } = evidence;
  const findings: Finding[] = unreadable.map((row) => ({
    kind: 'unreadable',
    seq: row.seq,
    message: `row ${row.seq} was changed: it is no longer a valid entry (${row.message})`,
  }));
  const unreadableSeqs = new Set(unreadable.map((row) => row.seq));
  const chain = verifyChain(session, entries, evidence.anchors);
  // An unreadable row is broken, not missing: do not report its gap as a second fault.
  findings.push(...chain.filter((finding) => finding.kind !== 'missing' || !unreadableSeqs.has(finding.seq ?? 0)));
  const last = entries.at(-1);
  if (evidence.sealed && last !== undefined && !entries.some(isSeal)) {
    const message = `it is said to be sealed, but row ${last.seq} is not a seal`;
    findings.push({ kind: 'corrupt', seq: last.seq, message });
  }
  const blobs = checkBlobs(entries, evidence.storedDigest);
  findings.push(...blobs.findings);
  return {
    session,
    incident: evidence.incident,
    entries: entries.length,
    sealed: evidence.sealed,
    anchors: evidence.anchors.map((anchor) => anchor.source),
    independent: evidence.anchors.some((anchor) => anchor.own !== true),
    blobs: { checked: blobs.checked, pruned: blobs.pruned },
    findings: findings.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0)),
  };
}

/** Verifies what is left of a pruned session: its head against the anchors. */
export function verifyPruned(
  { session, incident, entries, headHash, prunedAt }: SessionSummary & { readonly prunedAt: string },
  anchors: readonly Anchor[],
): SessionReport {
  const findings = anchors.flatMap((anchor): Finding[] => {
    if (anchor.entries !== undefined && anchor.entries > entries) {
      const message = `the session was pruned with ${entries} entries, but ${anchor.source} covers ${anchor.entries}`;
      return [{ kind: 'truncated', message }];
    }
    // An anchor from before the seal covers rows that are no longer there.
    if (anchor.entries !== undefined && anchor.entries < entries && !anchor.sealed) return [];
    if (anchor.headHash === headHash) return [];
    const message = `wrong head: the session was pruned with the head ${headHash.slice(0, 12)}…, but ${anchor.source} is ${anchor.headHash.slice(0, 12)}…`;
    return [{ kind: 'wrong-head', message }];
  });
  return {
    session,
    incident: { namespace: incident.namespace, name: incident.name },
    entries,
    sealed: true,
    anchors: anchors.map((anchor) => anchor.source),
    independent: anchors.some((anchor) => anchor.own !== true),
    blobs: { checked: 0, pruned: 0 },
    findings,
    pruned: { at: prunedAt, headHash },
  };
}

function checkBlobs(entries: readonly Entry[], storedDigest: SessionEvidence['storedDigest']) {
  const findings: Finding[] = [];
  let checked = 0;
  let pruned = 0;
  if (storedDigest === undefined) return { findings, checked, pruned };
  for (const { seq, blobDigest } of entries) {
    if (blobDigest === null) continue;
    const found = storedDigest(blobDigest);
    if (found === undefined) {
      pruned += 1;
      continue;
    }
    checked += 1;
    if (found !== blobDigest) {
      findings.push({ kind: 'blob-changed', seq, message: `row ${seq}: its stored text does not match its digest` });
    }
  }
  return { findings, checked, pruned };
}

/** Input for a verification from outside the file. */
export interface VerifyFileOptions {
  /** Anchors by session id (the Incident's UID). */
  readonly anchors?: ReadonlyMap<string, readonly Anchor[]>;
  /** Default: all sessions in the file, and those that are missing from it but have an anchor. */
  readonly sessions?: readonly string[];
  /** The keys whose signatures count. Without keys, signatures are not checked. */
  readonly keys?: TrustedKeys | undefined;
  /** What was signed and saved outside the file. */
  readonly statements?: readonly SignedStatement[];
}

/**
 * Checks an audit file that no gateway has open, without changing it.
 * @throws AuditUnavailable if the file cannot be read as an audit log
 */
export function verifyFile(path: string, options: VerifyFileOptions = {}): FileReport {
  const db = AuditDatabase.openForReading(path);
  try {
    const findings: Finding[] = db
      .faults()
      .map((fault) => ({ kind: 'corrupt', message: `the file is damaged: ${fault}` }));
    const missing = db.missingTriggers();
    if (missing.length > 0) {
      findings.push({
        kind: 'corrupt',
        message: `the file is no longer append-only: trigger ${missing.join(', ')} is missing`,
      });
    }
    const known = missing.map((name) => `trigger ${name} is missing`);
    for (const fault of db.schemaFaults().filter((one) => !known.includes(one))) {
      const message = `the file is not as oplab makes it: ${fault}; it may show something else than its rows`;
      findings.push({ kind: 'corrupt', message });
    }
    for (const digest of db.changedBlobs()) {
      findings.push({ kind: 'blob-changed', message: `the stored text ${digest} does not match its digest` });
    }
    const wanted = options.sessions ?? [...new Set([...db.sessionIds(), ...(options.anchors?.keys() ?? [])])];
    const facts = new Map<string, SessionFacts>();
    const imports: ReadonlyMap<string, SessionProof | undefined> =
      db.hasLogTables() && db.log.missingTables().length === 0 ? db.log.imports() : new Map();
    const proven = new Map<string, ProofReport>();
    const sessions = wanted.map((session) => {
      const tombstone = readTombstone(db, session, findings);
      if (tombstone !== undefined) {
        const { summary, prunedAt, entries, headHash } = tombstone;
        facts.set(session, { hashes: new Map(), seal: { entries, headHash }, isPruned: true });
        return verifyPruned({ ...summary, prunedAt }, options.anchors?.get(session) ?? []);
      }
      const { entries, unreadable } = db.readForVerification(session);
      const seal = db.seal(session);
      facts.set(session, { hashes: new Map(entries.map(({ seq, hash }) => [seq, hash])), seal });
      const anchors: Anchor[] = [...(options.anchors?.get(session) ?? [])];
      if (seal !== undefined) anchors.push({ source: "the file's seal", ...seal, sealed: true, own: true });
      if (imports.has(session) && options.keys !== undefined) {
        proven.set(session, verifyProof(imports.get(session), session, entries, options.keys));
      }
      return verifySession({
        session,
        incident: incidentOf(entries),
        entries,
        unreadable,
        sealed: seal !== undefined,
        anchors,
        storedDigest: (digest) => {
          const bytes = db.blob(digest);
          return bytes === undefined ? undefined : sha256(bytes);
        },
      });
    });
    const own = ownStatements(db);
    // Whoever may write the file could call all its sessions imported, and take one away.
    const isImported = own.length === 0 && imports.size > 0 && wanted.every((session) => imports.has(session));
    if (isImported && (options.statements ?? []).length > 0) {
      throw new InvalidInput(
        `${path} has only imported sessions: compare their exports with --checkpoint, not this file`,
      );
    }
    const log = verifyLog({
      ...readLeaves(db, findings),
      sessions: facts,
      complete: options.sessions === undefined,
      statements: [...own, ...(options.statements ?? [])],
      // No signature of this file covers what others have recorded.
      keys: isImported ? undefined : options.keys,
    });
    findings.push(...log.findings);
    const [first] = proven.values();
    return {
      path,
      isImported,
      findings,
      checkpoint: log.checkpoint ?? first?.checkpoint,
      sessions: withLogReport(sessions, log).map((report) =>
        imports.has(report.session) ? withProof(report, proven.get(report.session)) : report,
      ),
    };
  } finally {
    db.close();
  }
}

/** The report of an imported session, which is signed by the log that it came from, or not at all. */
function withProof(report: SessionReport, proof: ProofReport | undefined): SessionReport {
  return {
    ...report,
    imported: true,
    signed: proof?.signed,
    findings: [...report.findings, ...(proof?.findings ?? [])],
  };
}

function readTombstone(db: AuditDatabase, session: string, findings: Finding[]): Tombstone | undefined {
  try {
    return db.pruning.tombstone(session);
  } catch (error) {
    const [message = ''] = errorMessage(error).split('\n');
    findings.push({ kind: 'unreadable', message: `the tombstone of session ${session} was changed: ${message}` });
    return undefined;
  }
}

/** The leaves of a file. Undefined if the file was written by a version that had none. */
function readLeaves(db: AuditDatabase, findings: Finding[]): Pick<LogEvidence, 'leaves' | 'unreadableLeaves'> {
  if (!db.hasLogTables()) return { leaves: undefined };
  const missing = db.log.missingTables();
  if (missing.length > 0) {
    findings.push({ kind: 'corrupt', message: `the file is damaged: table ${missing.join(', ')} is missing` });
    return { leaves: [] };
  }
  const { leaves, unreadable } = db.log.leavesForVerification();
  return { leaves, unreadableLeaves: unreadable };
}

/** What the file itself says was signed. */
function ownStatements(db: AuditDatabase): SignedStatement[] {
  if (!db.hasLogTables() || db.log.missingTables().length > 0) return [];
  return db.log.notesForVerification().map(({ state, ...notes }) => ({
    source: `the last ${state} checkpoint in the file`,
    notes,
  }));
}

/** The Incident that the first entry names. Not from the view, which fails when one row is broken. */
function incidentOf(entries: readonly Entry[]): SessionReport['incident'] {
  for (const { writer, kind, params } of entries) {
    if (writer !== 'gateway' || kind !== 'lifecycle') continue;
    const opened = openedParams.safeParse(params);
    if (opened.success) return { namespace: opened.data.incident.namespace, name: opened.data.incident.name };
  }
  return { namespace: '', name: '' };
}

/** Whether a report has no findings. */
export function isSound(report: Pick<FileReport, 'findings' | 'sessions'>): boolean {
  return report.findings.length === 0 && report.sessions.every((session) => session.findings.length === 0);
}
