// The writer thread, the only one that accesses the file. It drains its queue into one transaction
// and acknowledges the entries after the commit.
//
// A stalled disk stalls only this thread. After a failed write, the thread closes the file and
// refuses writes until the file has been reopened and a probe has been written. Data that a failed
// fsync left in memory is never treated as being on disk.

import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { AuditConflict, AuditUnavailable, errorMessage, OplabError, SessionSealed } from '../errors.ts';
import { type PreparedAppend, prepare, write } from './chain-writer.ts';
import { AuditDatabase } from './database.ts';
import type { Reservation } from './log.ts';
import { Redactor } from './redaction.ts';
import type {
  AppendResult,
  FailureCode,
  OperationRequest,
  OperationResult,
  StoreOptions,
  StoreReply,
  StoreRequest,
} from './store-protocol.ts';

/** The maximum number of appends per commit. It bounds how long the first of them waits. */
const MAX_BATCH = 512;
const PROBE_MIN_MS = 250;
const PROBE_MAX_MS = 5000;

type AppendRequest = OperationRequest<'append'>;
type OtherRequest = Exclude<OperationRequest, AppendRequest>;

class StoreWorker {
  readonly #port: MessagePort;
  readonly #options: StoreOptions;
  readonly #redactor: Redactor;
  #db: AuditDatabase | undefined;
  #failure: string | undefined;
  #appends: AppendRequest[] = [];
  #others: OtherRequest[] = [];
  #scheduled = false;
  #probeDelay = PROBE_MIN_MS;

  constructor(port: MessagePort, options: StoreOptions) {
    this.#port = port;
    this.#options = options;
    this.#redactor = new Redactor(options.literals);
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
  }

  #reply(reply: StoreReply): void {
    this.#port.postMessage(reply);
  }

  #accept(request: StoreRequest): void {
    if (request.op === 'literal') {
      this.#redactor.add(request.literal);
      return;
    }
    if (request.op === 'append') this.#appends.push(request);
    else this.#others.push(request);
    if (!this.#scheduled) {
      this.#scheduled = true;
      // Runs after the messages that have already arrived, so that they share the commit.
      setImmediate(() => this.#drain());
    }
  }

  #drain(): void {
    this.#scheduled = false;
    while (this.#appends.length > 0) this.#commit(this.#appends.splice(0, MAX_BATCH));
    const others = this.#others;
    this.#others = [];
    for (const request of others) this.#answer(request);
  }

  #commit(batch: readonly AppendRequest[]): void {
    const db = this.#db;
    if (db === undefined || this.#failure !== undefined) {
      const reason = this.#failure ?? 'the log is closed';
      for (const request of batch)
        this.#refuse(request, new AuditUnavailable(`the audit log cannot be written: ${reason}`));
      return;
    }
    const outcomes: { request: AppendRequest; outcome: AppendResult | OplabError }[] = [];
    try {
      const prepared = batch.map((request): [AppendRequest, PreparedAppend | OplabError] => [
        request,
        this.#prepare(request),
      ]);
      db.transaction(() => {
        const now = new Date().toISOString();
        for (const [request, append] of prepared) {
          outcomes.push({ request, outcome: append instanceof OplabError ? append : this.#write(db, append, now) });
        }
      });
    } catch (error) {
      this.#fail(errorMessage(error));
      const refusal = new AuditUnavailable(`the audit log cannot be written: ${errorMessage(error)}`);
      for (const request of batch) this.#refuse(request, refusal);
      return;
    }
    for (const { request, outcome } of outcomes) {
      if (outcome instanceof OplabError) this.#refuse(request, outcome);
      else this.#reply({ type: 'result', id: request.id, op: 'append', value: outcome });
    }
  }

  #prepare({ args }: AppendRequest): PreparedAppend | OplabError {
    try {
      return prepare(args.authorship, args.entry, args.seal, this.#redactor, this.#options.blobCapBytes);
    } catch (error) {
      return new AuditUnavailable(`this entry cannot be recorded: ${errorMessage(error)}`);
    }
  }

  /** A refused entry does not affect the other entries in the transaction. */
  #write(db: AuditDatabase, append: PreparedAppend, now: string): AppendResult | OplabError {
    try {
      return write(db, append, this.#redactor, now);
    } catch (error) {
      if (error instanceof AuditConflict || error instanceof SessionSealed) return error;
      if (isEntryFault(error)) return new AuditUnavailable(`this entry cannot be recorded: ${errorMessage(error)}`);
      throw error;
    }
  }

  #refuse(request: OperationRequest, error: unknown): void {
    let code: FailureCode = 'OPLAB_AUDIT_UNAVAILABLE';
    if (error instanceof AuditConflict) code = 'OPLAB_AUDIT_CONFLICT';
    if (error instanceof SessionSealed) code = 'OPLAB_SESSION_SEALED';
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
        const value =
          head === undefined ? undefined : { entries: head.entries, headHash: head.headHash, sealed: head.sealed };
        return { type: 'result', id, op: 'head', value };
      }
      case 'read':
        return { type: 'result', id, op: 'read', value: db.read(request.args.session, request.args.options) };
      case 'tail':
        return { type: 'result', id, op: 'tail', value: db.tail(request.args.session, request.args.count) };
      case 'sessions':
        return { type: 'result', id, op: 'sessions', value: db.sessions() };
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
    if (this.#failure !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${this.#failure}`);
    try {
      db.transaction(() => db.insertReservation(reservation));
    } catch (error) {
      if (!isEntryFault(error)) this.#fail(errorMessage(error));
      throw new AuditUnavailable(`the audit log cannot be written: ${errorMessage(error)}`);
    }
  }

  #fail(message: string): void {
    this.#failure = message;
    this.#reply({ type: 'state', failure: message });
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
      const message = errorMessage(error);
      if (message !== this.#failure) this.#reply({ type: 'state', failure: message });
      this.#failure = message;
      this.#probeLater();
      return;
    }
    this.#failure = undefined;
    this.#reply({ type: 'state', failure: undefined });
  }
}

/**
 * SQLite result codes caused by the values, not the disk: too big, constraint, mismatch, misuse,
 * range.
 */
const ENTRY_FAULTS: readonly number[] = [18, 19, 20, 21, 25];

/** Whether the entry caused the error. Such an error must not stop the log for other entries. */
function isEntryFault(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('errcode' in error && typeof error.errcode === 'number') return ENTRY_FAULTS.includes(error.errcode & 0xff);
  return 'code' in error && typeof error.code === 'string' && error.code.startsWith('ERR_INVALID_ARG');
}

if (parentPort !== null) {
  const options: StoreOptions = workerData;
  new StoreWorker(parentPort, options).start();
}
