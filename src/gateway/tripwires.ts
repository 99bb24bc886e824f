// Tripwires: things that no honest agent needs. Whoever touches one loses the lease at once.

import { type AttemptId, canaryToken } from '../api/canary.ts';
import { CONDITIONS, type Incident, sessionId } from '../api/incident.ts';
import { type Condition, findCondition } from '../api/meta.ts';
import { truncate } from '../api/truncate.ts';
import { lifecycleEvent } from '../audit/lifecycle.ts';
import type { AuditLog } from '../audit/log.ts';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

/** The reason of TripwiresIntact, of the event, and of the end of the Incident. */
export const TRIPWIRE_TOUCHED = 'TripwireTouched';
/** The event of the lifecycle entry that says what was touched. */
const TOUCHED_EVENT = 'tripwire_touched';
const PAGE = 1000;
/** Of what the condition says, in characters. */
const MAX_MESSAGE = 1024;

/** Something that was touched, and how: of the Incident's target, the sandbox, or the network. */
export type Tripwire = 'secret' | 'token' | 'host';

/** What a session touched first. */
interface Touch {
  readonly message: string;
  /** RFC 3339. */
  readonly time: string;
}

export interface TripwiresOptions {
  /** From which the canaries are derived; undefined: there are no tripwires. */
  readonly key: string | undefined;
  /** The name of the canary Secret in target namespaces. */
  readonly secretName: string;
  readonly log: Pick<AuditLog, 'append' | 'read'>;
  readonly logger: Logger;
  /** Called once for each session, before its first touch is recorded. Must end the lease. */
  readonly onTouch: (session: string, tripwire: Tripwire, message: string) => void;
  /** Called when the touch is on record, or cannot be recorded. */
  readonly onRecord: (session: string) => void;
}

export class Tripwires {
  readonly #options: TripwiresOptions;
  readonly #touched = new Map<string, Touch>();

  constructor(options: TripwiresOptions) {
    this.#options = options;
  }

  /** The name of the canary Secret; undefined if there are no tripwires. */
  get secretName(): string | undefined {
    return this.#options.key === undefined ? undefined : this.#options.secretName;
  }

  /** What a session has touched; undefined if nothing. */
  touched(session: string): string | undefined {
    return this.#touched.get(session)?.message;
  }

  /** The condition for the status; undefined while nothing was touched. */
  condition(incident: Incident): Condition | undefined {
    const touch = this.#touched.get(sessionId(incident));
    if (touch === undefined) return undefined;
    const { generation } = incident.metadata;
    return {
      type: CONDITIONS.TripwiresIntact,
      status: 'False',
      reason: TRIPWIRE_TOUCHED,
      message: touch.message,
      lastTransitionTime: touch.time,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  }

  /** Learns what a session touched before this process started: from the status, and the log. */
  async load(incident: Incident): Promise<void> {
    const session = sessionId(incident);
    const seen = findCondition(incident.status?.conditions, CONDITIONS.TripwiresIntact);
    if (seen?.status === 'False') {
      this.#touched.set(session, { message: seen.message, time: seen.lastTransitionTime });
      return;
    }
    for (let afterSeq = 0; ; ) {
      const page = await this.#options.log.read(session, { afterSeq, limit: PAGE });
      const entry = page.find((one) => one.writer === 'gateway' && lifecycleEvent(one) === TOUCHED_EVENT);
      if (entry !== undefined) this.#touched.set(session, { message: entry.content, time: entry.time });
      const last = page.at(-1);
      if (entry !== undefined || last === undefined || page.length < PAGE) return;
      afterSeq = last.seq;
    }
  }

  /**
   * The attempt whose canary token is in a text, such as the headers of a request.
   * @param attempts the attempts that may have one
   */
  findToken(text: string, attempts: Iterable<AttemptId>): AttemptId | undefined {
    const { key } = this.#options;
    if (key === undefined) return undefined;
    for (const attempt of attempts) if (text.includes(canaryToken(key, attempt))) return attempt;
    return undefined;
  }

  /**
   * Ends the lease of a session, then puts on record what its attempt touched. Never throws: the
   * lease has ended even if that cannot be recorded.
   * @returns what was touched, for the refusal
   */
  async trip({ session, attempt }: AttemptId, tripwire: Tripwire, what: string): Promise<string> {
    const known = this.touched(session);
    if (known !== undefined) return known;
    const message = truncate(`attempt ${attempt} touched a tripwire: ${what}`, MAX_MESSAGE);
    this.#touched.set(session, { message, time: new Date().toISOString() });
    const { log, logger, onTouch, onRecord } = this.#options;
    onTouch(session, tripwire, message);
    try {
      await log.append(
        { session, attempt, writer: 'gateway' },
        {
          clientKey: 'tripwire',
          kind: 'lifecycle',
          params: { event: TOUCHED_EVENT, tripwire, attempt },
          content: message,
        },
      );
    } catch (error) {
      logger.error({ session, error: errorMessage(error) }, `could not be recorded: ${message}`);
    }
    onRecord(session);
    return message;
  }

  /** Forgets a session whose Incident no longer exists. */
  forget(session: string): void {
    this.#touched.delete(session);
  }
}
