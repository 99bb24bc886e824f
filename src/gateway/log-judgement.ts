// Compares the audit log with what was signed and published about it. Pure: nothing is read here.

import { openSignedNotes, type SessionHead, type SignedLog, type SignedNotes } from '../audit/checkpoint.ts';
import type { LogTree } from '../audit/log.ts';
import type { NoteVerifier } from '../audit/signed-note.ts';
import type { PublishedAnchor } from './published-anchor.ts';

export interface LogFacts {
  /** Undefined if the ConfigMap does not exist. */
  readonly anchor: PublishedAnchor | undefined;
  /** What was published according to the log. Undefined if it never was. */
  readonly known: SignedNotes | undefined;
  /** The log, with the root at the size that is published. */
  readonly tree: LogTree;
  readonly verifiers: readonly NoteVerifier[];
  /** The name under which the gateway signs. */
  readonly origin: string;
  /** The ConfigMap and its key `accept`, for messages. */
  readonly where: { readonly name: string; readonly namespace: string };
}

export type Judgement =
  /** Nothing was published yet. */
  | { readonly state: 'new' }
  /** The log contains everything that was published. */
  | { readonly state: 'intact'; readonly published: SignedLog }
  /** An administrator has confirmed this state of the log. The reason is what was found before. */
  | { readonly state: 'accepted'; readonly reason: string }
  | { readonly state: 'broken'; readonly message: string };

/** The size of the published tree, which the log has to have contained. */
export function publishedSize(anchor: PublishedAnchor | undefined, verifiers: readonly NoteVerifier[]): number {
  if (anchor?.notes === undefined) return 0;
  const opened = openSignedNotes(anchor.notes, verifiers);
  return 'problem' in opened ? 0 : opened.size;
}

/** Whether the gateway may continue the log. */
export function judgeLog(facts: LogFacts): Judgement {
  const { anchor, tree, verifiers, origin, where } = facts;
  const name = `ConfigMap ${where.namespace}/${where.name}`;
  const opened = anchor?.notes === undefined ? undefined : openSignedNotes(anchor.notes, verifiers);
  const isForked = opened !== undefined && !('problem' in opened) && !contains(tree, opened);
  const found = findFault(facts, opened, name);
  if (found === undefined) {
    return opened === undefined || 'problem' in opened ? { state: 'new' } : { state: 'intact', published: opened };
  }
  const state = `${tree.size} ${tree.root}`;
  if (anchor?.accept === state) {
    // A log never signs two histories under one name: whoever has seen the first would be deceived.
    if (!isForked || opened.origin !== origin) return { state: 'accepted', reason: found };
    return {
      state: 'broken',
      message: `${found}. It was signed under the name ${origin}, which cannot sign another history: set another audit.signing.name in the chart's values, and add ${opened.signedBy.vkey} to audit.signing.previousKeys`,
    };
  }
  return { state: 'broken', message: `${found}. ${advice(where, state, anchor === undefined)}` };
}

function contains(tree: LogTree, { size, root }: SignedLog): boolean {
  return size <= tree.size && tree.prefixRoot === root;
}

function findFault(
  { anchor, known, tree, verifiers }: LogFacts,
  opened: ReturnType<typeof openSignedNotes> | undefined,
  name: string,
): string | undefined {
  if (anchor === undefined) {
    return known === undefined
      ? undefined
      : `${name} was deleted, but the audit log says that it held a signed checkpoint`;
  }
  if (opened === undefined) {
    return known === undefined ? undefined : `the signed checkpoint was removed from ${name}`;
  }
  if ('problem' in opened) return `${name} was changed by somebody else than the gateway: ${opened.problem}`;
  if (anchor.publicKey !== opened.signedBy.vkey) {
    return `${name} was changed by somebody else than the gateway: its public key is not the one that signed it`;
  }
  if (opened.size > tree.size) {
    return `the audit log was set back or replaced: ${name} covers ${opened.size} openings and seals of sessions, but the log has ${tree.size}`;
  }
  if (tree.prefixRoot !== opened.root) {
    return `the audit log was changed: its first ${opened.size} openings and seals of sessions have the root ${tree.prefixRoot}, but ${name} says ${opened.root}`;
  }
  const earlier = known === undefined ? undefined : openSignedNotes(known, verifiers);
  return earlier === undefined || 'problem' in earlier ? undefined : findReplay(opened, earlier, name);
}

/** A ConfigMap that says less than was published before was put back. */
function findReplay(opened: SignedLog, earlier: SignedLog, name: string): string | undefined {
  const said = `${name} was set back: it held a newer signed checkpoint before`;
  if (opened.size < earlier.size) return `${said}, with ${earlier.size} openings and seals of sessions`;
  if (opened.size > earlier.size) return undefined;
  const heads = new Map(opened.heads.map((head) => [head.session, head]));
  const older = earlier.heads.find(({ session, entries }) => (heads.get(session)?.entries ?? 0) < entries);
  return older === undefined ? undefined : `${said}, with ${older.entries} entries of session ${older.session}`;
}

function advice({ name, namespace }: LogFacts['where'], state: string, isAbsent: boolean): string {
  const command = isAbsent
    ? `kubectl -n ${namespace} create configmap ${name} --from-literal=accept='${state}'`
    : `kubectl -n ${namespace} patch configmap ${name} --type merge -p '{"data":{"accept":"${state}"}}'`;
  return (
    'The gateway gives no Incident a lease and adds nothing to the log. Keep the file and the ConfigMap as evidence, ' +
    'and find out who changed them. To continue, put back the newest copy of both, and restart the gateway. ' +
    `If none is left, accept the log as it is, and restart the gateway: ${command}`
  );
}

/** Sessions of which the log has less than was signed, by the two lists alone. */
export function fallenBehind(published: readonly SessionHead[], running: readonly SessionHead[]): SessionHead[] {
  const now = new Map(running.map((head) => [head.session, head]));
  return published.filter(({ session, entries, headHash }) => {
    const head = now.get(session);
    return head !== undefined && (head.entries < entries || (head.entries === entries && head.headHash !== headHash));
  });
}
