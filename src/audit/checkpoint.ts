// What is signed about the log: a checkpoint over its tree, in the format of c2sp.org/tlog-checkpoint,
// and a list of the heads of the sessions that still run.

import * as z from 'zod';
import { canonicalJson } from './hash-chain.ts';
import { type Digest, leafHash } from './merkle.ts';
import { type NoteSigner, type NoteVerifier, openNote } from './signed-note.ts';

/**
 * One event of the log as a whole: a session was opened with its first entry, or sealed with its
 * last. Leaves stay when the entries of a session are pruned.
 */
export const logLeaf = z.object({
  /** The number of leaves before this one. */
  index: z.number().int(),
  event: z.enum(['opened', 'sealed']),
  session: z.string(),
  /** The number of entries up to the one that `hash` belongs to. */
  entries: z.number().int(),
  hash: z.string(),
});
export type LogLeaf = Readonly<z.infer<typeof logLeaf>>;

/** The end of a session that is not sealed. */
export interface SessionHead {
  readonly session: string;
  readonly entries: number;
  readonly headHash: string;
}

/** The bytes of a leaf, which other programs can hash as well: JSON with sorted keys. */
export function leafBytes({ event, session, entries, hash }: LogLeaf): Uint8Array {
  return Buffer.from(canonicalJson({ event, session, entries, hash }));
}

/** The hash of a leaf in the tree. */
export function hashLeaf(leaf: LogLeaf): Digest {
  return leafHash(leafBytes(leaf));
}

/** The head of the log's tree. */
export interface TreeHead {
  /** The number of leaves. */
  readonly size: number;
  /** The root over them, in base64. */
  readonly root: string;
}

export interface Checkpoint extends TreeHead {
  /** The log's name, which is also the name of its key. */
  readonly origin: string;
}

/** The two notes that are signed together. */
export const signedNotes = z.object({
  /** A C2SP checkpoint. */
  checkpoint: z.string(),
  /** The heads of the running sessions at the same moment. */
  heads: z.string(),
});
export type SignedNotes = Readonly<z.infer<typeof signedNotes>>;

/** The content of two notes whose signatures were checked. */
export interface SignedLog extends Checkpoint {
  readonly signedBy: NoteVerifier;
  readonly heads: readonly SessionHead[];
}

/**
 * The second line begins with a word, so that a list of heads can never be read as a checkpoint.
 */
const HEADS = 'heads';

/** Signs the state of the log. */
export function signLog(signer: NoteSigner, { size, root }: TreeHead, heads: readonly SessionHead[]): SignedNotes {
  const origin = signer.verifier.name;
  const lines = [...heads]
    .sort((a, b) => (a.session < b.session ? -1 : 1))
    .map(({ session, entries, headHash }) => canonicalJson({ session, entries, headHash }));
  return {
    checkpoint: signer.sign(`${origin}\n${size}\n${root}\n`),
    heads: signer.sign([origin, `${HEADS} ${size} ${root}`, ...lines, ''].join('\n')),
  };
}

const ROOT = /^[A-Za-z0-9+/]{43}=$/;
const SIZE = /^(0|[1-9][0-9]{0,14})$/;

/** The number of leaves that a checkpoint says it covers, unverified. Undefined if it is none. */
export function checkpointSize(note: string): number | undefined {
  const size = note.split('\n')[1] ?? '';
  return SIZE.test(size) ? Number(size) : undefined;
}

const headLine = z.strictObject({
  session: z.string().min(1),
  entries: z.number().int().min(1),
  headHash: z.string().regex(/^[0-9a-f]{64}$/),
});

/**
 * Reads a checkpoint, with whatever extension lines another program may have added.
 * @returns the checkpoint and who signed it, or what is wrong
 */
export function openCheckpoint(
  note: string,
  known: readonly NoteVerifier[],
): (Checkpoint & { readonly signedBy: NoteVerifier }) | { readonly problem: string } {
  const opened = openNote(note, known);
  if ('problem' in opened) return opened;
  const [origin = '', size = '', root = ''] = opened.text.split('\n');
  const signedBy = opened.signers.find(({ name }) => name === origin);
  if (signedBy === undefined) return { problem: `its origin is ${origin}, but it is not signed by a key of that name` };
  if (!SIZE.test(size) || !ROOT.test(root)) return { problem: 'it is not a checkpoint' };
  return { origin, size: Number(size), root, signedBy };
}

/**
 * Reads both notes, and checks that they belong together.
 * @returns their content, or what is wrong
 */
export function openSignedNotes(
  notes: SignedNotes,
  known: readonly NoteVerifier[],
): SignedLog | { readonly problem: string } {
  const checkpoint = openCheckpoint(notes.checkpoint, known);
  if ('problem' in checkpoint) return { problem: `the checkpoint is not valid: ${checkpoint.problem}` };
  const opened = openNote(notes.heads, known);
  if ('problem' in opened) return { problem: `the list of heads is not valid: ${opened.problem}` };
  const [origin, title, ...lines] = opened.text.split('\n').slice(0, -1);
  if (origin !== checkpoint.origin || title !== `${HEADS} ${checkpoint.size} ${checkpoint.root}`) {
    return { problem: 'the list of heads belongs to another checkpoint' };
  }
  const heads: SessionHead[] = [];
  for (const line of lines) {
    const parsed = headLine.safeParse(parsedJson(line));
    if (!parsed.success) return { problem: `the list of heads has an invalid line: ${line.slice(0, 80)}` };
    heads.push(parsed.data);
  }
  return { ...checkpoint, heads };
}

function parsedJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
