// Keeps the conversations of running attempts, so that an agent whose process was killed goes on
// where it was. They are encrypted, are no part of the log, and are deleted when the attempt ends.
//
// One file per attempt: the key of the file, wrapped with a key that is not on this volume, and then
// one frame per record. A frame that was not written to its end was never acknowledged.

import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { AuditUnavailable, errorMessage, NotAllowed, TooLarge } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

/** What one attempt may keep on the volume, in bytes. The longest context windows have a quarter of it. */
export const MAX_CONVERSATION_BYTES = 32 * 1024 * 1024;

const MAGIC = Buffer.from('OPLABC1\n');
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = MAGIC.length + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/** What a record takes beside its body. */
export const RECORD_BYTES = 4 + NONCE_BYTES + TAG_BYTES;

/** An attempt of an Incident. */
export interface ConversationId {
  readonly session: string;
  readonly attempt: number;
}

/** A record of an agent. The gateway does not know what is in it. */
export interface ConversationRecord {
  /** The process that writes it. Those before are dead, and what they still send is refused. */
  readonly run: string;
  /** Its position, from 0. */
  readonly index: number;
  /** Replaces all records; then the index is 0. */
  readonly isWhole: boolean;
  readonly body: Buffer;
}

interface Kept {
  run: string | undefined;
  /** Undefined before the file is read. */
  file: { key: Buffer; count: number; bytes: number; lastDigest: string } | undefined;
  /** Serialises all work on one file. */
  turn: Promise<unknown>;
}

export interface ConversationsOptions {
  /** The folder of the files. */
  readonly directory: string;
  /** A secret that is not on the volume. What wraps the keys is derived from it. */
  readonly secret: Buffer;
  /** Whether an attempt may still go on. */
  readonly isOpen: (id: ConversationId) => boolean;
  readonly logger: Logger;
}

export class Conversations {
  readonly #options: ConversationsOptions;
  readonly #wrappingKey: Buffer;
  readonly #kept = new Map<string, Kept & { readonly id: ConversationId }>();

  constructor(options: ConversationsOptions) {
    this.#options = options;
    this.#wrappingKey = Buffer.from(hkdfSync('sha256', options.secret, '', 'oplab conversations', KEY_BYTES));
  }

  /** Learns which files an earlier gateway has left. @throws if the folder cannot be used */
  async start(): Promise<void> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) {
      const [, session, attempt] = /^([\w-]+)\.(\d+)$/.exec(name) ?? [];
      if (session !== undefined) this.#of({ session, attempt: Number(attempt) });
      else await this.#clear(name);
    }
    await this.dropEnded();
  }

  /** Deletes the leftovers of a write. What nobody here has made may stay. */
  async #clear(name: string): Promise<void> {
    await shred(path.join(this.#options.directory, name)).catch((error: unknown) => {
      this.#options.logger.warn({ name, error: errorMessage(error) }, 'it is no conversation, and cannot be deleted');
    });
  }

  /** From now on, only this run of the attempt's agent may read and write. */
  begin(id: ConversationId, run: string): Promise<void> {
    return this.#inTurn(id, async (kept) => {
      kept.run = run;
    });
  }

  /** All records, in order. @throws NotAllowed for an earlier run, AuditUnavailable */
  read(id: ConversationId, run: string): Promise<Buffer[]> {
    return this.#inTurn(id, async (kept) => {
      requireRun(kept, run);
      return await this.#load(id, kept);
    });
  }

  /**
   * Resolves when the record is on disk. The last record may be sent again.
   * @throws NotAllowed for an earlier run or a wrong index, TooLarge, AuditUnavailable
   */
  append(id: ConversationId, record: ConversationRecord): Promise<void> {
    return this.#inTurn(id, async (kept) => {
      requireRun(kept, record.run);
      kept.run = record.run;
      if (kept.file === undefined) await this.#load(id, kept);
      const count = kept.file?.count ?? 0;
      const digest = createHash('sha256').update(record.body).digest('hex');
      const wanted = record.isWhole ? 0 : count;
      const isRepeated = record.index === count - 1 && digest === kept.file?.lastDigest;
      if (isRepeated) return;
      if (record.index !== wanted) {
        throw new NotAllowed(`index: ${record.index} is not the next record of the conversation; send ${wanted}`);
      }
      const bytes = record.isWhole ? 0 : (kept.file?.bytes ?? 0);
      if (bytes + RECORD_BYTES + record.body.length > MAX_CONVERSATION_BYTES) {
        // Old records would let the agent go on from a place that it has left.
        if (record.isWhole) await this.#remove(id, kept);
        throw new TooLarge(
          `the conversation has more than ${MAX_CONVERSATION_BYTES} bytes; send it as a whole, if that is less`,
        );
      }
      await this.#write(id, kept, record).catch((error: unknown) => {
        // The file is read again before the next record, and what was written of this one is cut off.
        kept.file = undefined;
        throw new AuditUnavailable(`the conversation cannot be kept: ${errorMessage(error)}`, error);
      });
      if (kept.file !== undefined) kept.file.lastDigest = digest;
      if (!this.#options.isOpen(id)) await this.#remove(id, kept);
    });
  }

  /** Deletes the conversations of attempts that cannot go on. Never throws. */
  async dropEnded(): Promise<void> {
    const ended = [...this.#kept.values()].filter(({ id }) => !this.#options.isOpen(id));
    await Promise.all(ended.map(({ id }) => this.#drop(id)));
  }

  /** Deletes the conversations of a session. Never throws. */
  async drop(session: string): Promise<void> {
    const all = [...this.#kept.values()].filter(({ id }) => id.session === session);
    await Promise.all(all.map(({ id }) => this.#drop(id)));
  }

  async #drop(id: ConversationId): Promise<void> {
    try {
      await this.#inTurn(id, (kept) => this.#remove(id, kept));
      this.#kept.delete(nameOf(id));
    } catch (error) {
      this.#options.logger.warn({ ...id, error: errorMessage(error) }, 'a conversation could not be deleted');
    }
  }

  #of(id: ConversationId): Kept {
    const name = nameOf(id);
    let kept = this.#kept.get(name);
    if (kept === undefined) {
      kept = { id, run: undefined, file: undefined, turn: Promise.resolve() };
      this.#kept.set(name, kept);
    }
    return kept;
  }

  async #inTurn<T>(id: ConversationId, work: (kept: Kept) => Promise<T>): Promise<T> {
    const kept = this.#of(id);
    const turn = kept.turn.then(() => work(kept));
    kept.turn = turn.catch(() => {});
    return await turn;
  }

  #path(id: ConversationId): string {
    return path.join(this.#options.directory, nameOf(id));
  }

  /** Reads the file, and cuts off what was not written to its end. */
  async #load(id: ConversationId, kept: Kept): Promise<Buffer[]> {
    kept.file = undefined;
    let content: Buffer;
    try {
      content = await readFile(this.#path(id));
    } catch (error) {
      if (isMissing(error)) return [];
      throw new AuditUnavailable(`the conversation cannot be read: ${errorMessage(error)}`, error);
    }
    let key: Buffer;
    try {
      if (!content.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('it is not a conversation');
      key = decrypt(this.#wrappingKey, content.subarray(MAGIC.length, HEADER_BYTES), nameOf(id));
    } catch (error) {
      this.#options.logger.warn({ ...id, error: errorMessage(error) }, 'a conversation is unreadable, and deleted');
      await this.#remove(id, kept);
      return [];
    }
    const records: Buffer[] = [];
    let offset = HEADER_BYTES;
    let bytes = 0;
    for (const frame of frames(content)) {
      let record: Buffer;
      try {
        record = decrypt(key, frame, frameName(id, records.length));
      } catch {
        break;
      }
      records.push(record);
      bytes += RECORD_BYTES + record.length;
      offset += 4 + frame.length;
    }
    if (offset < content.length) await this.#edit(id, (file) => file.truncate(offset));
    const last = records.at(-1);
    const lastDigest = last === undefined ? '' : createHash('sha256').update(last).digest('hex');
    kept.file = { key, count: records.length, bytes, lastDigest };
    return records;
  }

  async #write(id: ConversationId, kept: Kept, { isWhole, body }: ConversationRecord): Promise<void> {
    const known = isWhole ? undefined : kept.file;
    if (known !== undefined) {
      const frame = frameOf(encrypt(known.key, body, frameName(id, known.count)));
      await this.#edit(id, (file) => file.appendFile(frame));
      kept.file = { ...known, count: known.count + 1, bytes: known.bytes + RECORD_BYTES + body.length };
      return;
    }
    // A key of its own for every file, so that no frame of one can be put into another.
    const key = randomBytes(KEY_BYTES);
    const header = Buffer.concat([MAGIC, encrypt(this.#wrappingKey, key, nameOf(id))]);
    const target = this.#path(id);
    const fresh = `${target}.new`;
    const replaced = await openIfThere(target);
    try {
      const file = await open(fresh, 'w', 0o600);
      try {
        await file.writeFile(Buffer.concat([header, frameOf(encrypt(key, body, frameName(id, 0)))]));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(fresh, target);
      if (replaced !== undefined) await eraseKey(replaced);
    } catch (error) {
      // The volume may be full.
      await shred(fresh).catch(() => {});
      throw error;
    } finally {
      await replaced?.close();
    }
    await this.#syncFolder();
    kept.file = { key, count: 1, bytes: RECORD_BYTES + body.length, lastDigest: '' };
  }

  async #edit(id: ConversationId, edit: (file: FileHandle) => Promise<void>): Promise<void> {
    const file = await open(this.#path(id), 'a');
    try {
      await edit(file);
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  async #syncFolder(): Promise<void> {
    const folder = await open(this.#options.directory, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Overwrites the key, and deletes the file with it. */
  async #remove(id: ConversationId, kept: Kept): Promise<void> {
    kept.file = undefined;
    const isGone = await Promise.all([shred(this.#path(id)), shred(`${this.#path(id)}.new`)]);
    if (isGone.includes(true)) await this.#syncFolder();
  }
}

/** Overwrites the key of a file, and deletes the file. False if there is none. */
async function shred(file: string): Promise<boolean> {
  const opened = await openIfThere(file);
  if (opened === undefined) return false;
  try {
    await eraseKey(opened);
  } finally {
    await opened.close();
  }
  await unlink(file);
  return true;
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, 'r+');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function eraseKey(file: FileHandle): Promise<void> {
  await file.write(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  await file.datasync();
}

/** @throws NotAllowed */
function requireRun(kept: Kept, run: string): void {
  // After a restart of the gateway, the process that is there goes on.
  if (kept.run !== undefined && kept.run !== run) {
    throw new NotAllowed('run: another process of this agent has started since, so this one must end');
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function nameOf({ session, attempt }: ConversationId): string {
  if (!/^[\w-]+$/.test(session)) throw new NotAllowed(`session: ${JSON.stringify(session)} cannot name a file`);
  return `${session}.${attempt}`;
}

/** Binds a frame to its file and its place. */
function frameName(id: ConversationId, index: number): string {
  return `${nameOf(id)} ${index}`;
}

function frameOf(sealed: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(sealed.length);
  return Buffer.concat([length, sealed]);
}

/** The frames that are whole. */
function* frames(content: Buffer): Generator<Buffer> {
  for (let offset = HEADER_BYTES; offset + 4 <= content.length; ) {
    const end = offset + 4 + content.readUInt32BE(offset);
    if (end > content.length) return;
    yield content.subarray(offset + 4, end);
    offset = end;
  }
}

/** AES-256-GCM: nonce, ciphertext, tag. */
function encrypt(key: Buffer, text: Buffer, name: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(name));
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** @throws if the key, the name or any byte is not the one it was encrypted with */
function decrypt(key: Buffer, sealed: Buffer, name: string): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(name));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
}
