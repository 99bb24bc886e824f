// Knows which command of an attempt is running, from the agent's own entries. A write that arrives
// while none is running has no explanation, and ends the Incident.
//
// The shell server kills all processes of a command before it reports the command's end. Whatever
// sends a request after that is not part of any recorded command.

import { withoutControls, withVisibleEscapes } from '../audit/controls.ts';
import type { Entry } from '../audit/entry.ts';
import { callParams, intentParams, summaryParams } from '../audit/entry-params.ts';
import type { AuditLog } from '../audit/log.ts';
import { readChange } from './changes.ts';
import type { Lease } from './leases.ts';

/**
 * For how long after its end a command still explains requests, in milliseconds. What a process had
 * sent when it was killed may be read by the gateway after the message that its command has ended:
 * the two use different connections. Both times are the gateway's own, so no clock is compared.
 */
export const GRACE_MS = 1000;

/** At the beginning of the text of an entry that no command explains. */
export const UNEXPLAINED_MARK = 'unexplained: ';

/** The agent's tool that runs commands. */
const SHELL = 'shell';

/** What a request belongs to: a command, or nothing that is on record. */
export type Explanation = { readonly commandSeq: number } | { readonly unexplained: true };

/** The first request of a session that no command explains. */
export interface UnexplainedWrite {
  readonly seq: number;
  readonly attempt: number;
  /** RFC 3339. */
  readonly time: string;
  readonly text: string;
}

/** A command, as its entry describes it. */
export interface Command {
  readonly seq: number;
  readonly attempt: number;
  readonly clientKey: string;
  readonly text: string;
  /** The number of its writes that a door has recorded. */
  readonly writes: number;
}

type LogEntry = Pick<
  Entry,
  'session' | 'seq' | 'attempt' | 'writer' | 'kind' | 'tool' | 'params' | 'content' | 'clientKey' | 'time'
>;

interface Session {
  /** The last entry that is applied, and the last one that this process has appended. */
  afterSeq: number;
  latestSeq: number;
  /** The latest command. */
  command: { -readonly [K in keyof Command]: Command[K] } | undefined;
  /** When it ended, by the clock of this process; undefined while it is running. */
  endedAt: number | undefined;
  unexplained: UnexplainedWrite | undefined;
  /** Called when the latest command is over and its grace as well. */
  readonly onOver: Set<() => void>;
  timer: NodeJS.Timeout | undefined;
  /** Serialises readers, so that no entry is applied twice. */
  turn: Promise<unknown>;
}

export interface RunningCommandsOptions {
  readonly log: Pick<AuditLog, 'read'>;
  /** Called once for each session in which a write has no explanation. */
  readonly onUnexplained?: (session: string, write: UnexplainedWrite) => void;
  readonly now?: () => number;
}

const PAGE = 1000;

export class RunningCommands {
  readonly #options: RunningCommandsOptions;
  readonly #now: () => number;
  readonly #sessions = new Map<string, Session>();

  constructor(options: RunningCommandsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Applies an entry that was just appended. */
  appended(entry: LogEntry): void {
    const state = this.#session(entry.session);
    state.latestSeq = entry.seq;
    // Earlier entries that this process has not read come first. The next question reads them all.
    if (entry.seq !== state.afterSeq + 1) return;
    this.#apply(state, entry);
  }

  /**
   * What explains a request of the attempt that is to be recorded now.
   * @param isGone whether its caller has hung up. Nothing is forwarded for it, and the end of its
   * command is the usual reason
   * @throws AuditUnavailable
   */
  async explain({ session, attempt }: Pick<Lease, 'session' | 'attempt'>, isGone: boolean): Promise<Explanation> {
    const { command, endedAt } = await this.#read(session);
    if (command === undefined || command.attempt !== attempt) return { unexplained: true };
    const isCurrent = endedAt === undefined || isGone || this.#now() - endedAt <= GRACE_MS;
    return isCurrent ? { commandSeq: command.seq } : { unexplained: true };
  }

  /**
   * Marks the end of a command, as the agent reports it. The result is recorded a little
   * later.
   */
  async ended({ session, attempt }: Pick<Lease, 'session' | 'attempt'>, clientKey: string): Promise<void> {
    const state = await this.#read(session);
    if (state.command?.clientKey === clientKey && state.command.attempt === attempt) this.#end(state);
  }

  /** The latest command of a session, running or not. @throws AuditUnavailable */
  async latest(session: string): Promise<Command | undefined> {
    return (await this.#read(session)).command;
  }

  /**
   * Calls `onOver` when the command no longer explains requests, at once if that is so already.
   * @returns a function that withdraws it
   */
  whenOver(session: string, commandSeq: number, onOver: () => void): () => void {
    const state = this.#session(session);
    const isLatest = state.command?.seq === commandSeq;
    const isOver = state.endedAt !== undefined && this.#now() - state.endedAt > GRACE_MS;
    if (!isLatest || isOver) {
      onOver();
      return () => {};
    }
    state.onOver.add(onOver);
    return () => state.onOver.delete(onOver);
  }

  /** The first unexplained write of a session. @throws AuditUnavailable */
  async unexplained(session: string): Promise<UnexplainedWrite | undefined> {
    return (await this.#read(session)).unexplained;
  }

  /** The same, as far as the log is known to this process. For decisions that cannot wait. */
  knownUnexplained(session: string): UnexplainedWrite | undefined {
    return this.#sessions.get(session)?.unexplained;
  }

  /** Forgets a session, for example when its Incident was deleted. */
  forget(session: string): void {
    clearTimeout(this.#sessions.get(session)?.timer);
    this.#sessions.delete(session);
  }

  #session(session: string): Session {
    let state = this.#sessions.get(session);
    if (state === undefined) {
      state = {
        afterSeq: 0,
        latestSeq: 0,
        command: undefined,
        endedAt: undefined,
        unexplained: undefined,
        onOver: new Set(),
        timer: undefined,
        turn: Promise.resolve(),
      };
      this.#sessions.set(session, state);
      // A session that begins now has no earlier entries, and the first page says so.
      state.latestSeq = 1;
    }
    return state;
  }

  /** The state after all entries that were appended before the call. */
  async #read(session: string): Promise<Session> {
    const state = this.#session(session);
    if (state.afterSeq >= state.latestSeq) return state;
    const turn = state.turn.then(() => this.#catchUp(session, state));
    state.turn = turn.catch(() => {});
    await turn;
    return state;
  }

  async #catchUp(session: string, state: Session): Promise<void> {
    for (;;) {
      const page = await this.#options.log.read(session, { afterSeq: state.afterSeq, limit: PAGE });
      // What was appended in the meantime may have been applied already.
      for (const entry of page) if (entry.seq === state.afterSeq + 1) this.#apply(state, entry);
      if (page.length < PAGE) return;
    }
  }

  #apply(state: Session, entry: LogEntry): void {
    state.afterSeq = entry.seq;
    if (entry.writer === 'agent') {
      // The agent runs one command at a time, so its next step is the end of the one before.
      if (entry.kind === 'reasoning') return;
      // The summary of an earlier result comes when it is ready.
      if (entry.kind === 'lifecycle' && summaryParams.safeParse(entry.params).success) return;
      this.#end(state);
      if (entry.kind !== 'tool_call' || entry.tool !== SHELL) return;
      // A call without a command is one that the agent has refused to run.
      const call = callParams.safeParse(entry.params);
      if (call.success) this.#begin(state, entry, call.data.command);
      return;
    }
    if (entry.writer !== 'gateway' || (entry.kind !== 'kube_intent' && entry.kind !== 'docker_intent')) return;
    const intent = intentParams.safeParse(entry.params).data;
    if (intent?.unexplained === true && state.unexplained === undefined) {
      const { seq, attempt, time, content } = entry;
      state.unexplained = {
        seq,
        attempt,
        time,
        text: withoutControls(withVisibleEscapes(content)).replace(UNEXPLAINED_MARK, ''),
      };
      this.#options.onUnexplained?.(entry.session, state.unexplained);
    }
    const { command } = state;
    if (command === undefined || intent?.commandSeq !== command.seq) return;
    if (readChange(entry) !== undefined) command.writes += 1;
  }

  #begin(state: Session, { seq, attempt, clientKey }: LogEntry, text: string): void {
    this.#over(state);
    state.command = { seq, attempt, clientKey, text, writes: 0 };
    state.endedAt = undefined;
  }

  #end(state: Session): void {
    if (state.command === undefined || state.endedAt !== undefined) return;
    state.endedAt = this.#now();
    state.timer = setTimeout(() => this.#over(state), GRACE_MS + 1);
    state.timer.unref();
  }

  /** Only the latest command can have listeners: the next one ends those of the one before. */
  #over(state: Session): void {
    clearTimeout(state.timer);
    state.timer = undefined;
    const waiting = [...state.onOver];
    state.onOver.clear();
    for (const onOver of waiting) onOver();
  }
}
