// Compares the audit log with the anchor in an Incident's status before the gateway writes a newer
// anchor. A log that was set back, cut or swapped would otherwise be anchored again.

import { type Incident, sessionId } from '../api/incident.ts';
import type { AuditStatus } from '../api/incident-status.ts';
import type { Entry } from '../audit/entry.ts';
import { entryHash } from '../audit/hash-chain.ts';
import type { AuditLog } from '../audit/log.ts';
import { AuditUnavailable, errorMessage } from '../errors.ts';

/** A head of the log that was published, or is about to be. */
export interface PublishedHead {
  readonly entries: number;
  readonly headHash: string;
}

/** What the log holds for a session at the moment. */
export interface LogState {
  readonly head: (PublishedHead & { readonly prunedAt?: string | undefined }) | undefined;
  /** The row with the number that the published head covers. */
  readonly row: Entry | undefined;
}

/**
 * Why the log does not contain a published head; undefined if it does. A log that has grown past
 * the head contains it.
 * @param source where the head was published, for the message
 */
export function describeBreak(published: PublishedHead, log: LogState, source: string): string | undefined {
  const { row, head } = log;
  // Only a sealed session can be pruned, and its last head is in the status.
  if (head?.prunedAt !== undefined && head.entries === published.entries && head.headHash === published.headHash) {
    return undefined;
  }
  if (row !== undefined && row.hash === published.headHash && entryHash(row) === row.hash) return undefined;
  const said = `${source} covers ${published.entries} entries with the head ${published.headHash}`;
  if (head === undefined) return `${said}, but the audit log has no entries of this session`;
  const found = `the audit log has ${head.entries} entries with the head ${head.headHash}`;
  if (row === undefined) return `${said}, but ${found}`;
  if (row.hash === published.headHash) return `${said}, but the fields of row ${row.seq} no longer match its hash`;
  return `${said}, but row ${row.seq} of the audit log has the hash ${row.hash}; ${found}`;
}

/** What to do about a broken log. */
const ADVICE =
  'The gateway gives this Incident no lease and no longer writes status.audit. ' +
  'Keep the file as evidence, and find out who changed the volume. The Incident ends as AuditBroken. ' +
  'To have its log sealed, put back the newest audit.db that contains this row, and restart the gateway.';

export interface AnchorGuardOptions {
  readonly log: Pick<AuditLog, 'head' | 'read' | 'failure'>;
  /** Why the log as a whole contradicts what was signed about it, and what to do. */
  readonly logBreak?: () => string | undefined;
  /** Why a session contradicts what was signed about it. */
  readonly sessionBreak?: (session: string) => string | undefined;
  /** Called once for each session whose log is broken. */
  readonly onBroken?: (incident: Incident, message: string) => void;
}

/**
 * Knows which sessions are broken. A session stays broken until the gateway starts again: whoever
 * repairs the file must stop the gateway for it.
 */
export class AnchorGuard {
  readonly #options: AnchorGuardOptions;
  readonly #broken = new Map<string, string>();
  /** The last head of each session that this process wrote to the status. */
  readonly #written = new Map<string, PublishedHead>();

  constructor(options: AnchorGuardOptions) {
    this.#options = options;
  }

  /** Why the log of a session is broken; undefined if no break is known. */
  reason(session: string): string | undefined {
    return this.#broken.get(session);
  }

  /** The sessions whose log is broken. */
  get brokenSessions(): string[] {
    return [...this.#broken.keys()];
  }

  /** Remembers a head that was written to the status. The watch may not show it yet. */
  written(session: string, head: PublishedHead): void {
    this.#written.set(session, head);
  }

  /**
   * Forgets what was written for a session whose Incident no longer exists. A break stays known, so
   * that the broken log is not sealed.
   */
  forget(session: string): void {
    this.#written.delete(session);
  }

  /**
   * Compares the log with everything that was published about it.
   * @returns why the log is broken; undefined if it is intact
   * @throws AuditUnavailable if the log as a whole cannot be read
   */
  async check(incident: Incident): Promise<string | undefined> {
    const session = sessionId(incident);
    const known = this.#broken.get(session);
    if (known !== undefined) return known;
    const whole = this.#options.logBreak?.();
    if (whole !== undefined) return this.#break(incident, whole);
    const inStatus = publishedHead(incident.status?.audit);
    const written = this.#written.get(session);
    const found =
      (inStatus === undefined ? undefined : await this.#compare(session, inStatus, 'status.audit')) ??
      (written === undefined ? undefined : await this.#compare(session, written, 'the last status that was written')) ??
      this.#options.sessionBreak?.(session);
    if (found === undefined) return undefined;
    return this.#break(incident, `${found}. ${ADVICE}`);
  }

  #break(incident: Incident, message: string): string {
    const session = sessionId(incident);
    // A second check of the same session may have found it first.
    if (!this.#broken.has(session)) {
      this.#broken.set(session, message);
      this.#options.onBroken?.(incident, message);
    }
    return message;
  }

  async #compare(session: string, published: PublishedHead, source: string): Promise<string | undefined> {
    const { log } = this.#options;
    try {
      const [row] = await log.read(session, { afterSeq: published.entries - 1, limit: 1 });
      const head = await log.head(session);
      return describeBreak(published, { row: row?.seq === published.entries ? row : undefined, head }, source);
    } catch (error) {
      // A log that cannot be read at all says nothing about one session. A row that cannot be read
      // is a break of its session only.
      if (log.failure !== undefined || !(error instanceof AuditUnavailable)) throw error;
      return `row ${published.entries} of the audit log cannot be read: ${errorMessage(error).split('\n')[0]}`;
    }
  }
}

function publishedHead(audit: AuditStatus | undefined): PublishedHead | undefined {
  const { entries, headHash } = audit ?? {};
  return entries === undefined || headHash === undefined || entries === 0 ? undefined : { entries, headHash };
}
