// How much of the log one session may use, so that no session can fill the volume for the others.

import type { Entry, NewEntry, Writer } from './entry.ts';
import { lifecycleEvent } from './lifecycle.ts';

/** The limits of one session on disk. */
export interface SessionLimits {
  readonly bytes: number;
  readonly entries: number;
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = { bytes: 64 * 1024 * 1024, entries: 20_000 };

/** One session may use at most this part of what ordinary entries may use of the volume. */
const VOLUME_SHARE = 8;

/**
 * The limits on a volume: on a small one, a session gets less, so that several can work beside one
 * that floods the log. Pure.
 * @param usable the bytes that ordinary entries may use; undefined if they are not known
 */
export function limitsOnVolume(limits: SessionLimits, usable: number | undefined): SessionLimits {
  if (usable === undefined) return limits;
  return { ...limits, bytes: Math.min(limits.bytes, Math.max(0, Math.floor(usable / VOLUME_SHARE))) };
}

/** What a session uses on disk. */
export interface SessionUsage {
  readonly bytes: number;
  readonly entries: number;
}

/** From this share of its bytes on, full texts of a session are replaced by their digests. */
export const TEXT_SHARE = 0.75;

/** Entries that end what has begun. */
const CLOSING: readonly Entry['kind'][] = ['lifecycle', 'kube_outcome', 'docker_outcome', 'model_call'];

/**
 * Whether an entry ends what has begun: the gateway's own lifecycle steps (claims and seals among
 * them) and outcomes. Their number is bounded by what was admitted before.
 */
export function isClosing(writer: Writer, kind: NewEntry['kind']): boolean {
  return writer === 'gateway' && CLOSING.includes(kind);
}

/** Lifecycle events that recur as often as a check of the Incident changes. */
const RECURRING: readonly string[] = ['check', 'soak_restarted'];

/**
 * Whether an entry is recorded beyond the limits of its session. Not what recurs: the author of the
 * checks could fill the volume with it.
 */
export function isUnlimited(writer: Writer, kind: NewEntry['kind'], params: unknown): boolean {
  const event = lifecycleEvent({ kind, params });
  return isClosing(writer, kind) && (event === undefined || !RECURRING.includes(event));
}

/** Bytes of a row besides its variable columns: numbers, hashes and two indexes. */
const ROW_BYTES = 512;
const PAGE_BYTES = 4096;

/** The bytes that a row takes on disk, at least. Larger rows leave parts of pages empty. */
export function rowBytes(row: {
  readonly session: string;
  readonly clientKey: string;
  readonly tool: string | null;
  readonly params: string | null;
  readonly content: string;
}): number {
  const { session, clientKey, tool, params, content } = row;
  const text = Buffer.byteLength(content) + Buffer.byteLength(params ?? '') + Buffer.byteLength(tool ?? '');
  const keys = 3 * Buffer.byteLength(session) + 2 * Buffer.byteLength(clientKey);
  return inPages(ROW_BYTES + keys + text);
}

/** The bytes that a full text takes on disk. */
export function textBytes(length: number): number {
  return inPages(length + 256);
}

function inPages(bytes: number): number {
  return bytes <= PAGE_BYTES / 4 ? bytes : Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** How an entry is recorded: with its full text, with the digest of it, or not at all. */
export type QuotaDecision =
  | { readonly record: 'whole' | 'without-text' }
  | { readonly record: 'nothing'; readonly message: string };

/** Decides how the next entry of a session is recorded. Pure. */
export function decideQuota(
  usage: SessionUsage,
  limits: SessionLimits,
  entry: { readonly unlimited: boolean; readonly rowBytes: number; readonly textBytes: number },
): QuotaDecision {
  const withText = usage.bytes + entry.rowBytes + entry.textBytes;
  const keepsText = entry.textBytes === 0 || withText <= TEXT_SHARE * limits.bytes;
  const record = keepsText ? 'whole' : 'without-text';
  if (entry.unlimited) return { record };
  if (usage.entries + 1 > limits.entries) {
    return { record: 'nothing', message: `the audit log has ${usage.entries} of ${limits.entries} entries of it` };
  }
  const bytes = usage.bytes + entry.rowBytes + (keepsText ? entry.textBytes : 0);
  if (bytes > limits.bytes) {
    return {
      record: 'nothing',
      message: `the audit log has ${usage.bytes} of ${limits.bytes} bytes of it, and this entry needs ${bytes - usage.bytes}`,
    };
  }
  return { record };
}
