// The Audit-ID of a request to the API server: the same key is in its own audit log and in ours.

/**
 * - `entry`: it has an intent in our log, which names the Audit-ID.
 * - `review`: a question of the caller about its rights. It changes nothing and has no entry.
 * - `gateway`: a question of the gateway itself, with the token of the attempt.
 */
export type Origin = 'entry' | 'review' | 'gateway';

/** The header's name, as Node has it. */
export const AUDIT_ID = 'audit-id';

/** A new Audit-ID, which says where the request comes from. */
export function createAuditID(origin: Origin): string {
  return `oplab-${origin}-${crypto.randomUUID()}`;
}
