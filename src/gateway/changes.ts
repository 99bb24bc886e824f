// What of the record is a change of the patient: the gateway's own count, whatever the agent says of its work.
//
// Rebuilt from intents and outcomes in the log, so it survives the process and cannot differ from the trail. A write whose outcome
// is missing counts: whether it was done is not known.

import { z } from 'zod';
import type { WitnessedChange, WitnessedChanges } from '../api/incident.ts';
import { withoutControls } from '../audit/controls.ts';
import type { Entry } from '../audit/entry.ts';
import { cutToBytes } from '../audit/excerpt.ts';
import type { AuditLog } from '../audit/log.ts';

/** How many are shown in status. */
const SHOWN = 16;
/** A change's text in status, in bytes. */
const TEXT_BYTES = 512;
/** Kept in memory, so that a refused one can give its place back to an older one. */
const KEPT = 256;

type WitnessedEntry = Pick<Entry, 'kind' | 'writer' | 'seq' | 'attempt' | 'params' | 'content'>;

const kubeIntent = z.looseObject({
  verb: z.string(),
  subresource: z.string().optional(),
  method: z.string().optional(),
  dryRun: z.boolean().optional(),
});
/** A docker intent counts unless it says that nothing changes. */
const dockerIntent = z.looseObject({ changes: z.boolean().default(true) });
const outcomeParams = z.looseObject({
  intentSeq: z.number().int(),
  status: z.number().int().nullable(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  object: z.looseObject({ name: z.string().optional() }).optional(),
});

const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head']);

/** The change that an intent announces; undefined for entries that announce none. */
export function changeOf(entry: WitnessedEntry): WitnessedChange | undefined {
  if (entry.writer !== 'gateway') return undefined;
  const change = (plane: WitnessedChange['plane']): WitnessedChange => ({
    attempt: entry.attempt,
    seq: entry.seq,
    plane,
    text: cutToBytes(withoutControls(entry.content), TEXT_BYTES),
  });
  if (entry.kind === 'docker_intent') {
    return dockerIntent.safeParse(entry.params ?? {}).data?.changes === false ? undefined : change('docker');
  }
  if (entry.kind !== 'kube_intent') return undefined;
  const intent = kubeIntent.safeParse(entry.params);
  // What cannot be read cannot be ruled out.
  return intent.success && !mayChange(intent.data) ? undefined : change('kubernetes');
}

function mayChange({ verb, subresource, method, dryRun }: z.infer<typeof kubeIntent>): boolean {
  // A Secret that is read is on record as an intent too.
  if (READS.has(verb)) return false;
  // What connects knows no dry run.
  if (verb !== 'connect') return dryRun !== true;
  // A way to a port is as good as the plain network, which no door sees either; what a shell in a container does may be anything.
  if (subresource === 'portforward') return false;
  return subresource !== 'proxy' || !READS.has((method ?? '').toLowerCase());
}

/** The changes of one session. */
export class Changes {
  #count = 0;
  #last: WitnessedChange[] = [];
  /** Changes whose outcome is not on record yet. */
  readonly #open = new Set<number>();

  /** Takes the next entry of the log into account. */
  add(entry: WitnessedEntry): void {
    const change = changeOf(entry);
    if (change !== undefined) {
      this.#count += 1;
      this.#last = [...this.#last, change].slice(-KEPT);
      this.#open.add(change.seq);
      return;
    }
    if (entry.writer !== 'gateway' || (entry.kind !== 'kube_outcome' && entry.kind !== 'docker_outcome')) return;
    const outcome = outcomeParams.safeParse(entry.params);
    if (!outcome.success || !this.#open.delete(outcome.data.intentSeq)) return;
    const { status, intentSeq } = outcome.data;
    if (status !== null && status >= 400) {
      // Refused, so nothing has changed.
      this.#count -= 1;
      this.#last = this.#last.filter((one) => one.seq !== intentSeq);
      return;
    }
    const { namespace, name, object } = outcome.data;
    if (name !== undefined || object?.name === undefined) return;
    // A path to a collection does not say what was made in it; the answer does.
    const made = `${namespace === undefined ? ' ' : '/'}${object.name}`;
    this.#last = this.#last.map((one) =>
      one.seq === intentSeq ? { ...one, text: cutToBytes(`${one.text}${made}`, TEXT_BYTES) } : one,
    );
  }

  witnessed(): WitnessedChanges {
    return { count: this.#count, last: this.#last.slice(-SHOWN) };
  }
}

const PAGE = 1000;

interface Reading {
  readonly changes: Changes;
  afterSeq: number;
  /** One reader at a time: an entry must not be counted twice. */
  turn: Promise<unknown>;
}

/** The changes of all sessions, each read on from where the last reading ended. */
export class ChangeBook {
  readonly #log: Pick<AuditLog, 'read'>;
  readonly #readings = new Map<string, Reading>();

  constructor(log: Pick<AuditLog, 'read'>) {
    this.#log = log;
  }

  /** As of now: whatever is on record when this is called is in it. @throws AuditUnavailable */
  async of(session: string): Promise<WitnessedChanges> {
    const reading = this.#readings.get(session) ?? { changes: new Changes(), afterSeq: 0, turn: Promise.resolve() };
    this.#readings.set(session, reading);
    const turn = reading.turn.then(() => this.#catchUp(session, reading));
    reading.turn = turn.catch(() => {});
    await turn;
    return reading.changes.witnessed();
  }

  /** Forgets a session that is over. */
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
