// Counts the changes that an Incident's agent made, from the gateway's own records instead of the
// agent's claims.
//
// The count is derived from intents and outcomes in the log, so it survives a restart and matches
// the trail. A write without an outcome counts, because it may have been done.

import * as z from 'zod';
import type { RecordedChange, RecordedChanges } from '../api/incident-status.ts';
import { withoutControls, withVisibleEscapes } from '../audit/controls.ts';
import type { Entry } from '../audit/entry.ts';
import { intentParams, wasRefused } from '../audit/entry-params.ts';
import { truncateToBytes } from '../audit/excerpt.ts';
import type { AuditLog } from '../audit/log.ts';
import { EnteredPodList } from './entered-pods.ts';

/** The number of changes in the status. */
const SHOWN = 16;
/** The maximum size of a change's text in the status, in bytes. */
const TEXT_BYTES = 512;
/** The number of changes kept in memory, so that an older one can replace a refused one. */
const KEPT = 256;

type LogEntry = Pick<Entry, 'kind' | 'writer' | 'seq' | 'attempt' | 'params' | 'content'>;

const kubeIntent = z.looseObject({
  verb: z.string(),
  subresource: z.string().optional(),
  method: z.string().optional(),
  dryRun: z.boolean().optional(),
});
/** A docker intent counts unless its params say that it changes nothing. */
const dockerIntent = z.looseObject({ changes: z.boolean().default(true) });
const outcomeParams = z.looseObject({
  intentSeq: z.number().int(),
  status: z.number().int().nullable(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  subresource: z.string().optional(),
  reason: z.string().optional(),
  object: z.looseObject({ name: z.string().optional() }).optional(),
});

const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head']);

/** The change that an intent announces; undefined for all other entries. */
export function readChange(entry: LogEntry): RecordedChange | undefined {
  if (entry.writer !== 'gateway') return undefined;
  const command = intentParams.safeParse(entry.params).data?.commandSeq;
  const change = (plane: RecordedChange['plane']): RecordedChange => ({
    attempt: entry.attempt,
    seq: entry.seq,
    ...(command === undefined ? {} : { command }),
    plane,
    text: truncateToBytes(withoutControls(withVisibleEscapes(entry.content)), TEXT_BYTES),
  });
  if (entry.kind === 'docker_intent') {
    return dockerIntent.safeParse(entry.params ?? {}).data?.changes === false ? undefined : change('docker');
  }
  if (entry.kind !== 'kube_intent') return undefined;
  const intent = kubeIntent.safeParse(entry.params);
  // An intent that cannot be parsed may be a change.
  return intent.success && !mayChange(intent.data) ? undefined : change('kubernetes');
}

function mayChange({ verb, subresource, method, dryRun }: z.infer<typeof kubeIntent>): boolean {
  // Reading a Secret is also recorded as an intent.
  if (READS.has(verb)) return false;
  // Connects have no dry run.
  if (verb !== 'connect') return dryRun !== true;
  // Port-forwarding is like plain network access, which no door sees either. An exec may change
  // anything.
  if (subresource === 'portforward') return false;
  return subresource !== 'proxy' || !READS.has((method ?? '').toLowerCase());
}

/** The changes of one session. */
export class Changes {
  #count = 0;
  #last: RecordedChange[] = [];
  /** Sequence numbers of changes whose outcome is not recorded yet. */
  readonly #open = new Set<number>();
  readonly #pods = new EnteredPodList();

  /** Applies the next entry of the log. */
  add(entry: LogEntry): void {
    const change = readChange(entry);
    if (change !== undefined) {
      this.#count += 1;
      this.#last = [...this.#last, change].slice(-KEPT);
      this.#open.add(change.seq);
      if (change.plane === 'kubernetes') this.#pods.add(entry);
      return;
    }
    if (entry.writer !== 'gateway' || (entry.kind !== 'kube_outcome' && entry.kind !== 'docker_outcome')) return;
    const outcome = outcomeParams.safeParse(entry.params);
    if (!outcome.success || !this.#open.delete(outcome.data.intentSeq)) return;
    const { intentSeq } = outcome.data;
    const isRefused = wasRefused(outcome.data);
    this.#pods.settle(intentSeq, isRefused);
    if (isRefused) {
      this.#count -= 1;
      this.#last = this.#last.filter((one) => one.seq !== intentSeq);
      return;
    }
    const { namespace, name, object } = outcome.data;
    if (name !== undefined || object?.name === undefined) return;
    // The path of a collection does not name the created object. The answer does.
    const created = `${namespace === undefined ? ' ' : '/'}${object.name}`;
    this.#last = this.#last.map((one) =>
      one.seq === intentSeq ? { ...one, text: truncateToBytes(`${one.text}${created}`, TEXT_BYTES) } : one,
    );
  }

  /** The count and the last changes, for the status. */
  summary(): RecordedChanges {
    const enteredPods = this.#pods.summary();
    return {
      count: this.#count,
      last: this.#last.slice(-SHOWN),
      ...(enteredPods === undefined ? {} : { enteredPods }),
    };
  }
}

const PAGE = 1000;

interface Reading {
  readonly changes: Changes;
  afterSeq: number;
  /** Serialises readers, so that no entry is counted twice. */
  turn: Promise<unknown>;
}

/** The changes of all sessions. Each reading continues where the previous one ended. */
export class ChangeBook {
  readonly #log: Pick<AuditLog, 'read'>;
  readonly #readings = new Map<string, Reading>();

  constructor(log: Pick<AuditLog, 'read'>) {
    this.#log = log;
  }

  /**
   * The changes so far, including every entry recorded before the call. @throws AuditUnavailable
   */
  async of(session: string): Promise<RecordedChanges> {
    const reading = this.#readings.get(session) ?? { changes: new Changes(), afterSeq: 0, turn: Promise.resolve() };
    this.#readings.set(session, reading);
    const turn = reading.turn.then(() => this.#catchUp(session, reading));
    reading.turn = turn.catch(() => {});
    await turn;
    return reading.changes.summary();
  }

  /** Forgets a session, for example when its Incident was deleted. */
  forget(session: string): void {
    this.#readings.delete(session);
  }

  async #catchUp(session: string, reading: Reading): Promise<void> {
    for (;;) {
      const page = await this.#log.read(session, { afterSeq: reading.afterSeq, limit: PAGE });
      for (const entry of page) {
        reading.changes.add(entry);
        reading.afterSeq = entry.seq;
      }
      if (page.length < PAGE) return;
    }
  }
}
