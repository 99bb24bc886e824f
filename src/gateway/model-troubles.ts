// Errors of the model that may pass, for the Incident's status while they last: the agent asks again
// and again, and whoever looks at its Incident must see what it waits for.

import { CONDITIONS, type Incident, sessionId } from '../api/incident.ts';
import type { Condition } from '../api/meta.ts';
import { truncate } from '../api/truncate.ts';

/** What the agent waits for. */
export interface ModelTrouble {
  /** The reason of the condition ModelAnswers. */
  readonly reason: 'RateLimited' | 'Overloaded' | 'ServerError' | 'Unreachable' | 'AnswerCutOff';
  /** What the API says, or what is wrong with its answer. */
  readonly message: string;
}

/** The trouble of an answer with this status, which may pass. */
export function troubleOfStatus(status: number, message: string): ModelTrouble {
  const reason = status === 429 ? 'RateLimited' : status === 503 || status === 529 ? 'Overloaded' : 'ServerError';
  return { reason, message: `the model API answers ${status}: ${message}` };
}

/** The trouble of an error of this type inside of a stream, which may pass. */
export function troubleOfEvent(type: string | undefined, message: string): ModelTrouble {
  const reason =
    type === 'rate_limit_error' ? 'RateLimited' : type === 'overloaded_error' ? 'Overloaded' : 'ServerError';
  return { reason, message: `the model API ended its answer with an error: ${message}` };
}

interface Lasting {
  readonly trouble: ModelTrouble;
  /** RFC 3339. */
  readonly since: string;
  readonly calls: number;
}

/** Of what the condition says, in characters. */
const MAX_MESSAGE = 1024;

/** The troubles of all sessions. They are kept in memory alone: the next call shows whether one lasts. */
export class ModelTroubles {
  readonly #lasting = new Map<string, Lasting>();
  readonly #onChange: (session: string) => void;

  /** @param onChange called when the condition of a session is another one */
  constructor(onChange: (session: string) => void) {
    this.#onChange = onChange;
  }

  /** A call of the agent's model failed, and the agent asks again. */
  note(session: string, trouble: ModelTrouble): void {
    const before = this.#lasting.get(session);
    const since = before?.since ?? new Date().toISOString();
    this.#lasting.set(session, { trouble, since, calls: (before?.calls ?? 0) + 1 });
    this.#onChange(session);
  }

  /** The model has answered, or will not be asked again. */
  clear(session: string): void {
    if (this.#lasting.delete(session)) this.#onChange(session);
  }

  /** The condition for the status; undefined while nothing is wrong. */
  condition(incident: Incident): Condition | undefined {
    const lasting = this.#lasting.get(sessionId(incident));
    if (lasting === undefined || incident.status?.attempts?.at(-1)?.endTime !== undefined) return undefined;
    const { trouble, since, calls } = lasting;
    const { generation } = incident.metadata;
    const failed = calls === 1 ? '1 call has failed' : `${calls} calls have failed`;
    return {
      type: CONDITIONS.ModelAnswers,
      status: 'False',
      reason: trouble.reason,
      message: `${truncate(trouble.message, MAX_MESSAGE)}; ${failed} since ${since}, and the agent asks again`,
      lastTransitionTime: since,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  }

  /** Forgets a session whose Incident no longer exists. */
  forget(session: string): void {
    this.#lasting.delete(session);
  }
}
