// The writer of the log, the only one that accesses the file. It drains its queue into one transaction
// and acknowledges the entries after the commit. It has a thread of its own.
//
// A stalled disk stalls only this thread. After a failed write, the thread closes the file and
// refuses writes until the file has been reopened and a probe has been written. Data that a failed
// fsync left in memory is never treated as being on disk.

import type { MessagePort } from 'node:worker_threads';
import { AuditConflict, AuditUnavailable, errorMessage, LimitReached, OplabError, SessionSealed } from '../errors.ts';
import { type WriteContext, write } from './chain-writer.ts';
import { AuditDatabase } from './database.ts';
import { FairQueue } from './fair-queue.ts';
import type { Reservation, SessionSummary } from './log.ts';
import { type Preparation, type PreparedAppend, prepare } from './prepare-append.ts';
import { PrepareThread } from './prepare-thread.ts';
import { RawDigester } from './raw-digest.ts';
import { Redactor } from './redaction.ts';
import { limitsOnVolume } from './session-quota.ts';
import { SpaceWatch } from './space-watch.ts';
import type {
  AppendResult,
  FailureCode,
  LogFailure,
  OperationRequest,
  OperationResult,
  StoreOptions,
  StoreReply,
  StoreRequest,
} from './store-protocol.ts';

/** The maximum number of appends per commit. It bounds how long the first of them waits. */
const MAX_BATCH = 512;
/** The same in bytes, to bound the size of a commit. */
const MAX_BATCH_BYTES = 1024 * 1024;
/** Longer texts are redacted in a thread of their own, in characters. */
const MAX_INLINE = 16 * 1024;
/** How long the redaction of one entry may take, in milliseconds. A mebibyte takes about 100. */
const PREPARE_LIMIT_MS = 5000;
const PROBE_MIN_MS = 250;
const PROBE_MAX_MS = 5000;

type AppendRequest = OperationRequest<'append'>;
type OtherRequest = Exclude<OperationRequest, AppendRequest>;

/** An append, and its redacted form if that was made in the other thread. */
interface WaitingAppend {
  readonly request: AppendRequest;
  readonly prepared?: PreparedAppend | OplabError;
}

function textLength({ args: { entry } }: AppendRequest): number {
  const params = entry.params === undefined ? 0 : JSON.stringify(entry.params).length;
  return entry.content.length + params + (entry.blob?.length ?? 0);
}

export class StoreWriter {
  readonly #port: MessagePort;
  readonly #options: StoreOptions;
  readonly #redactor: Redactor;
  readonly #preparation: Preparation;
  readonly #thread: PrepareThread;
  readonly #space: SpaceWatch;
  readonly #appends = new FairQueue<WaitingAppend>(
    ({ request }) => request.args.authorship.session,
    ({ request }) => textLength(request),
  );
  #db: AuditDatabase | undefined;
  #failure: string | undefined;
  #others: OtherRequest[] = [];
  #scheduled = false;
  #probeDelay = PROBE_MIN_MS;

  constructor(port: MessagePort, options: StoreOptions) {
    this.#port = port;
    this.#options = options;
    this.#redactor = new Redactor(options.literals);
    const { literals, digestKey, blobCapBytes } = options;
    this.#preparation = { redactor: this.#redactor, digester: new RawDigester(digestKey), blobCapBytes };
    this.#space = new SpaceWatch({
      path: options.path,
      freePageBytes: () => this.#db?.pruning.freePageBytes(),
      onChange: (message) => {
        const failure = message === undefined ? undefined : { message, isFull: true, acceptsClosing: true };
        this.#reply({ type: 'state', failure });
      },
    });
    this.#thread = new PrepareThread({
      literals,
      digestKey,
      blobCapBytes,
      preparation: this.#preparation,
      limitMs: options.prepareLimitMs ?? PREPARE_LIMIT_MS,
      onReady: (request, prepared) => {
        this.#appends.push({ request, prepared });
        this.#schedule();
      },
    });
  }

  start(): void {
    try {
      this.#db = AuditDatabase.openForWriting(this.#options.path, this.#options.busyTimeoutMs);
    } catch (error) {
      this.#reply({ type: 'refused', message: errorMessage(error) });
      this.#port.close();
      return;
    }
    this.#port.on('message', (request: StoreRequest) => this.#accept(request));
    this.#reply({ type: 'opened' });
    // A volume that is full already is known before the first entry.
    this.#space.look();
  }

  #reply(reply: StoreReply): void {
    this.#port.postMessage(reply);
  }

  #accept(request: StoreRequest): void {
    if (request.op === 'literal') {
      this.#redactor.add(request.literal);
      this.#thread.addLiteral(request.literal);
      return;
    }
    if (request.op !== 'append') this.#others.push(request);
    // A short entry waits for the long ones of its own session only.
    else if (textLength(request) <= MAX_INLINE && !this.#thread.has(request.args.authorship.session)) {
      this.#appends.push({ request });
    } else {
      this.#thread.add(request);
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Runs after the messages that have already arrived, so that they share the commit.
    setImmediate(() => this.#drain());
  }

  #drain(): void {
    this.#scheduled = false;
    const closes = this.#others.some(({ op }) => op === 'close');
    do {
      const batch = this.#appends.take(MAX_BATCH, MAX_BATCH_BYTES);
      if (batch.length > 0) this.#commit(batch);
    } while (closes && this.#appends.length > 0);
    // The file is closed after everything that was accepted before.
    const others = this.#others.filter(({ op }) => op !== 'close' || this.#thread.length === 0);
    this.#others = this.#others.filter((request) => !others.includes(request));
    for (const request of others) this.#answer(request);
    // Messages that have arrived meanwhile take part in the next turn.
    if (this.#appends.length > 0) this.#schedule();
  }

  #commit(batch: readonly WaitingAppend[]): void {
    const db = this.#db;
    if (db === undefined || this.#failure !== undefined) {
      const reason = this.#failure ?? 'the log is closed';
      for (const { request } of batch)
        this.#refuse(request, new AuditUnavailable(`the audit log cannot be written: ${reason}`));
      return;
    }
    const outcomes: { request: AppendRequest; outcome: AppendResult | OplabError }[] = [];
    try {
      const appends = batch.map(({ request, prepared = this.#prepare(request) }) => ({ request, prepared }));
      const space = this.#space.budget();
      const limits = limitsOnVolume(this.#options.limits, space.usable);
      db.transaction(() => {
        const now = new Date().toISOString();
        for (const { request, prepared } of appends) {
          const outcome = prepared instanceof OplabError ? prepared : this.#write(db, prepared, { limits, space, now });
          outcomes.push({ request, outcome });
        }
      });
      if (space.isFull) this.#space.report(space.describe());
    } catch (error) {
      this.#fail(error);
      const refusal = new AuditUnavailable(`the audit log cannot be written: ${errorMessage(error)}`);
      for (const { request } of batch) this.#refuse(request, refusal);
      return;
    }
    for (const { request, outcome } of outcomes) {
      if (outcome instanceof OplabError) this.#refuse(request, outcome);
      else this.#reply({ type: 'result', id: request.id, op: 'append', value: outcome });
    }
  }

  #prepare({ args }: AppendRequest): PreparedAppend | OplabError {
    try {
      return prepare(args.authorship, args.entry, args.seal, this.#preparation);
    } catch (error) {
      return new AuditUnavailable(`this entry cannot be recorded: ${errorMessage(error)}`);
    }
  }

  /** A refused entry does not affect the other entries in the transaction. */
  #write(
    db: AuditDatabase,
    append: PreparedAppend,
    context: Omit<WriteContext, 'redactor'>,
  ): AppendResult | OplabError {
    try {
      return write(db, append, { ...context, redactor: this.#redactor });
    } catch (error) {
      if (error instanceof OplabError) return error;
      if (isEntryFault(error)) return new AuditUnavailable(`this entry cannot be recorded: ${errorMessage(error)}`);
      throw error;
    }
  }

  #refuse(request: OperationRequest, error: unknown): void {
    let code: FailureCode = 'OPLAB_AUDIT_UNAVAILABLE';
    if (error instanceof AuditConflict) code = 'OPLAB_AUDIT_CONFLICT';
    if (error instanceof SessionSealed) code = 'OPLAB_SESSION_SEALED';
    if (error instanceof LimitReached) code = 'OPLAB_LIMIT_REACHED';
    this.#reply({ type: 'error', id: request.id, op: request.op, code, message: errorMessage(error) });
  }

  #answer(request: OtherRequest): void {
    try {
      this.#reply(this.#result(request));
    } catch (error) {
      this.#refuse(request, error);
    }
    if (request.op === 'close') this.#port.close();
  }

  #result(request: OtherRequest): OperationResult {
    const { id } = request;
    if (request.op === 'close') {
      this.#thread.close();
      this.#db?.close();
      this.#db = undefined;
      this.#failure ??= 'the log is closed';
      return { type: 'result', id, op: 'close', value: undefined };
    }
    const db = this.#db;
    if (db === undefined)
      throw new AuditUnavailable(`the audit log cannot be read: ${this.#failure ?? 'it is closed'}`);
    switch (request.op) {
      case 'reserve':
        this.#reserve(db, request.args);
        return { type: 'result', id, op: 'reserve', value: undefined };
      case 'reservations':
        return { type: 'result', id, op: 'reservations', value: db.reservations() };
      case 'head': {
        const head = db.head(request.args.session);
        if (head === undefined) return { type: 'result', id, op: 'head', value: undefined };
        const { entries, headHash, sealed, prunedAt } = head;
        const value = { entries, headHash, sealed, ...(prunedAt === undefined ? {} : { prunedAt }) };
        return { type: 'result', id, op: 'head', value };
      }
      case 'entomb': {
        const { summary } = request.args;
        return { type: 'result', id, op: 'entomb', value: this.#writing(() => this.#entomb(db, summary)) };
      }
      case 'pruneStep':
        return { type: 'result', id, op: 'pruneStep', value: this.#writing(() => this.#pruneStep(db)) };
      case 'read':
        return { type: 'result', id, op: 'read', value: db.read(request.args.session, request.args.options) };
      case 'tail':
        return { type: 'result', id, op: 'tail', value: db.tail(request.args.session, request.args.count) };
      case 'sessions':
        return { type: 'result', id, op: 'sessions', value: db.sessions() };
      case 'tree':
        return { type: 'result', id, op: 'tree', value: db.log.tree(request.args.prefix) };
      case 'leaves':
        return { type: 'result', id, op: 'leaves', value: db.log.leaves(request.args.from, request.args.limit) };
      case 'notes':
        return { type: 'result', id, op: 'notes', value: db.log.notes(request.args.state) };
      case 'saveNotes': {
        const { state, notes } = request.args;
        this.#writing(() => db.transaction(() => db.log.saveNotes(state, notes)));
        return { type: 'result', id, op: 'saveNotes', value: undefined };
      }
      case 'spendingSince':
        return { type: 'result', id, op: 'spendingSince', value: db.spendingSince(request.args.time) };
      case 'blob': {
        const bytes = db.blob(request.args.digest);
        const value = bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
        return { type: 'result', id, op: 'blob', value };
      }
    }
  }

  #reserve(db: AuditDatabase, reservation: Reservation): void {
    const { full } = this.#space;
    if (full !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${full}`);
    this.#writing(() => db.transaction(() => db.insertReservation(reservation)));
  }

  #entomb(db: AuditDatabase, summary: SessionSummary): boolean {
    const { session } = summary;
    if (db.pruning.tombstone(session) !== undefined || db.seal(session) === undefined) return false;
    db.transaction(() => db.pruning.entomb(summary, new Date().toISOString()));
    return true;
  }

  #pruneStep(db: AuditDatabase): boolean {
    return db.transaction(() => db.pruning.deleteSome()) || db.pruning.shrinkSome();
  }

  /** Runs a write that is not an append. @throws AuditUnavailable */
  #writing<T>(work: () => T): T {
    if (this.#failure !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${this.#failure}`);
    try {
      return work();
    } catch (error) {
      if (!isEntryFault(error)) this.#fail(error);
      throw new AuditUnavailable(`the audit log cannot be written: ${errorMessage(error)}`);
    }
  }

  #fail(error: unknown): void {
    const failure = describeFailure(error);
    this.#failure = failure.message;
    this.#space.forget();
    this.#reply({ type: 'state', failure });
    this.#shut();
    this.#probeDelay = PROBE_MIN_MS;
    this.#probeLater();
  }

  #shut(): void {
    try {
      this.#db?.close();
    } catch {
      // The file is reopened before the next write.
    }
    this.#db = undefined;
  }

  #probeLater(): void {
    setTimeout(() => this.#probe(), this.#probeDelay).unref();
    this.#probeDelay = Math.min(this.#probeDelay * 2, PROBE_MAX_MS);
  }

  #probe(): void {
    if (this.#failure === undefined || this.#failure === 'the log is closed') return;
    try {
      const db = AuditDatabase.openForWriting(this.#options.path, this.#options.busyTimeoutMs);
      this.#db = db;
      // After a failed fsync, rows may be readable only from memory. Write them and the probe to
      // the file.
      db.transaction(() => db.probe(new Date().toISOString()));
      db.checkpoint();
    } catch (error) {
      this.#shut();
      const failure = describeFailure(error);
      if (failure.message !== this.#failure) this.#reply({ type: 'state', failure });
      this.#failure = failure.message;
      this.#probeLater();
      return;
    }
    this.#failure = undefined;
    if (!this.#space.look()) this.#reply({ type: 'state', failure: undefined });
  }
}

/**
 * SQLite result codes caused by the values, not the disk: too big, constraint, mismatch, misuse,
 * range.
 */
const ENTRY_FAULTS: readonly number[] = [18, 19, 20, 21, 25];

/** SQLite's result code for a full disk. */
const SQLITE_FULL = 13;

function describeFailure(error: unknown): LogFailure {
  const isFull =
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
      ? (error.errcode & 0xff) === SQLITE_FULL
      : /disk is full/.test(errorMessage(error));
  return { message: errorMessage(error), isFull, acceptsClosing: false };
}

/** Whether the entry caused the error. Such an error must not stop the log for other entries. */
function isEntryFault(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('errcode' in error && typeof error.errcode === 'number') return ENTRY_FAULTS.includes(error.errcode & 0xff);
  return 'code' in error && typeof error.code === 'string' && error.code.startsWith('ERR_INVALID_ARG');
}
