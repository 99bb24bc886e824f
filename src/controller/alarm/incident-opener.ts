// Opens at most one Incident per episode of an alarm, on any replica: the API server has the state.

import { ALARM_MANAGER, LABEL_FINGERPRINT } from '../../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../../api/incident.ts';
import type { AlarmStatus } from '../../api/incident-status.ts';
import { findCondition } from '../../api/meta.ts';
import { applyStatus, unchanged } from '../../kube/apply-status.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import { INCIDENTS } from '../../kube/resources.ts';
import { backoffMs } from '../../net/retry.ts';
import type { Note } from '../event.ts';
import {
  type Alarm,
  type AlarmEnd,
  alarmKey,
  buildIncident,
  fingerprintLabel,
  incidentName,
  NAME_DIGITS,
} from './alarm.ts';
import { type KnownIncident, onFiring, onResolved, type Transition } from './episode.ts';

/**
 * The result of raising an alarm. Without `incident`, its episode had ended before it was reported.
 */
export interface Raised {
  readonly incident: string | undefined;
  /** Whether this call, or another call in the same write, opened the Incident. */
  readonly opened: boolean;
}

export interface IncidentOpenerOptions {
  readonly client: Pick<KubeClient, 'list' | 'get' | 'create' | 'apply'>;
  readonly now: () => Date;
  /** Records an event; never throws. */
  readonly record: (incident: Incident, note: Note) => void;
}

type Entry =
  | { readonly type: 'raise'; readonly alarm: Alarm; readonly done: PromiseWithResolvers<Raised> }
  | { readonly type: 'clear'; readonly end: AlarmEnd; readonly done: PromiseWithResolvers<void> };

/** An alarm of one source, and where its Incidents are. */
interface Target {
  readonly key: string;
  readonly namespace: string;
  readonly source: AlarmEnd['source'];
}

/** How often a write is tried when others write to the same Incident. */
const MAX_TRIES = 12;
/** The shortest interval between two writes for an alarm, in ms. */
const GATHER_MS = 150;
const RETRY = { baseMs: 10, maxMs: 500 };
/** The number of alarms whose open Incident, or early end, is remembered. */
const MAX_REMEMBERED = 10_000;

export class IncidentOpener {
  readonly #options: IncidentOpenerOptions;
  /** Waiting entries by namespace and alarm; a key exists while it is being handled. */
  readonly #waiting = new Map<string, Entry[]>();
  /** The latest end of an alarm that arrived without an open Incident. */
  readonly #ends = new Map<string, string>();
  /** The name of the Incident that was last seen open; saves a list request. */
  readonly #lastOpen = new Map<string, string>();

  constructor(options: IncidentOpenerOptions) {
    this.#options = options;
  }

  /**
   * Opens the Incident of the alarm's episode, or counts the alarm on the open one. Resolves once
   * this is written.
   * @throws KubeError: forbidden when a right is missing, invalid when the schema is violated
   */
  raise(alarm: Alarm): Promise<Raised> {
    const done = Promise.withResolvers<Raised>();
    this.#enter(alarm.namespace, alarm.source, { type: 'raise', alarm, done });
    return done.promise;
  }

  /**
   * Records the end of the alarm on the Incident that the same source opened; the plan decides
   * what follows.
   * @throws KubeError
   */
  clear(end: AlarmEnd): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#enter(end.namespace, end.source, { type: 'clear', end, done });
    return done.promise;
  }

  #enter(namespace: string, source: AlarmEnd['source'], entry: Entry): void {
    const key = `${namespace}/${alarmKey(source)}`;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      waiting.push(entry);
      return;
    }
    this.#waiting.set(key, [entry]);
    void this.#drain({ key, namespace, source });
  }

  /** Handles the reports of an alarm in turn. Later reports share the next write. */
  async #drain(target: Target): Promise<void> {
    const { key } = target;
    // Yields first, so that simultaneous calls share a write.
    await Promise.resolve();
    for (;;) {
      const batch = this.#waiting.get(key) ?? [];
      if (batch.length === 0) {
        this.#waiting.delete(key);
        return;
      }
      this.#waiting.set(key, []);
      try {
        await this.#write(target, batch);
      } catch (error) {
        for (const { done } of batch) done.reject(error);
      }
      // In an alert storm, further reports collect and share a write. The first never waits.
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    }
  }

  async #write(target: Target, batch: readonly Entry[]): Promise<void> {
    const { key } = target;
    let digits = NAME_DIGITS;
    let taken: Incident | undefined;
    const created = new Set<string>();
    for (let tries = 1; ; tries += 1) {
      try {
        const before = (await this.#find(target)) ?? taken;
        const answers = await this.#settle({ key, before, batch, digits, created });
        for (const answer of answers) answer();
        return;
      } catch (error) {
        if (tries >= MAX_TRIES) throw error;
        if (error instanceof NameTaken) {
          if (error.bySameEpisode) taken = error.incident;
          else digits = Math.min(64, digits * 2);
        } else if (!isConflict(error) && !isNotFound(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, backoffMs(tries, RETRY)));
      }
    }
  }

  /** The current Incident of the alarm. At most one is open; a known one needs no search. */
  async #find({ key, namespace, source }: Target): Promise<Incident | undefined> {
    const name = this.#lastOpen.get(key);
    const known = name === undefined ? undefined : await this.#get({ namespace, name });
    if (known !== undefined && isOf(source, known) && !isFinished(known)) return known;
    this.#lastOpen.delete(key);
    const found = await this.#search(namespace, source);
    if (found !== undefined && !isFinished(found)) remember(this.#lastOpen, key, found.metadata.name);
    return found;
  }

  async #get(ref: { readonly namespace: string; readonly name: string }): Promise<Incident | undefined> {
    try {
      return incidentSchema.safeParse(await this.#options.client.get(INCIDENTS, ref)).data;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** The open Incident of the alarm, or else the one with the latest episode. */
  async #search(namespace: string, source: AlarmEnd['source']): Promise<Incident | undefined> {
    const labelSelector = `${LABEL_FINGERPRINT}=${fingerprintLabel(source.fingerprint)}`;
    const { items } = await this.#options.client.list(INCIDENTS, { namespace, labelSelector });
    const incidents = items
      .flatMap((object) => {
        const parsed = incidentSchema.safeParse(object);
        return parsed.success && isOf(source, parsed.data) ? [parsed.data] : [];
      })
      .sort((a, b) => episodeStart(a) - episodeStart(b));
    return incidents.findLast((incident) => !isFinished(incident)) ?? incidents.at(-1);
  }

  /** Handles a batch: creates at most one Incident and writes at most one status. */
  async #settle(task: {
    readonly key: string;
    readonly before: Incident | undefined;
    readonly batch: readonly Entry[];
    readonly digits: number;
    /** Names of Incidents that this batch has created, in this try or an earlier one. */
    readonly created: Set<string>;
  }): Promise<(() => void)[]> {
    const { key, before, batch, digits, created } = task;
    const now = this.#options.now().toISOString();
    const answers: (() => void)[] = [];
    const kinds = new Set<Transition['kind']>();
    let known = before === undefined ? undefined : toKnownIncident(before);
    let toOpen: Alarm | undefined;
    let lastEnd = this.#ends.get(key);
    for (const entry of batch) {
      if (entry.type === 'clear') {
        const { endTime, seen } = entry.end;
        const transition = onResolved(known, endTime, seen === undefined ? undefined : { flaps: 0, ...seen });
        kinds.add(transition.kind);
        if (known === undefined || known.finished) lastEnd = latest(lastEnd, endTime);
        if (known !== undefined) known = { ...known, alarm: transition.alarm };
        answers.push(() => entry.done.resolve());
        continue;
      }
      const { source, seen } = entry.alarm;
      const firing = { startTime: source.startTime, count: seen?.count ?? 1, lastTime: seen?.lastTime ?? now };
      const transition = onFiring(known, { ...firing, flaps: seen?.flaps ?? 0 }, lastEnd);
      kinds.add(transition.kind);
      if (transition.kind === 'opened') {
        toOpen = entry.alarm;
        known = {
          name: incidentName(source, digits),
          startTime: source.startTime,
          finished: false,
          alarm: transition.alarm,
        };
      } else if (known !== undefined) known = { ...known, alarm: transition.alarm };
      const name = known?.name;
      answers.push(() => entry.done.resolve({ incident: name, opened: name !== undefined && created.has(name) }));
    }
    const target = toOpen === undefined ? before : await this.#open(toOpen, known?.name ?? '', created);
    const changed = toOpen !== undefined || known?.alarm !== before?.status?.alarm;
    if (target !== undefined && known?.alarm !== undefined && changed) {
      const written = await this.#writeAlarm(target, known.alarm);
      this.#report(written, known.alarm, kinds);
    }
    if (lastEnd !== undefined) remember(this.#ends, key, lastEnd);
    return answers;
  }

  async #open(alarm: Alarm, name: string, created: Set<string>): Promise<Incident> {
    const { client, record } = this.#options;
    try {
      const made = incidentSchema.parse(await client.create(INCIDENTS, buildIncident(alarm, name)));
      created.add(name);
      record(made, { type: 'Normal', reason: 'Opened', note: `opened by ${alarm.source.kind} ${alarm.source.name}` });
      return made;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const found = incidentSchema.parse(await client.get(INCIDENTS, { namespace: alarm.namespace, name }));
      throw new NameTaken(found, alarm);
    }
  }

  async #writeAlarm(incident: Incident, alarm: AlarmStatus): Promise<Incident> {
    // The resource version is a precondition: a new episode must not be lost on an Incident that
    // has just finished.
    const document = { metadata: unchanged(incident), status: { alarm } };
    return incidentSchema.parse(await applyStatus(this.#options.client, INCIDENTS, document, ALARM_MANAGER));
  }

  #report(incident: Incident, alarm: AlarmStatus, kinds: ReadonlySet<Transition['kind']>): void {
    if (kinds.has('back')) {
      const note = `the alarm came back (${alarm.flaps} times so far)`;
      this.#options.record(incident, { type: 'Warning', reason: 'AlarmBack', note });
    }
    if (kinds.has('cleared') && alarm.state === 'Cleared') {
      const note = `the alarm cleared at ${alarm.clearedTime ?? 'an unknown time'}`;
      this.#options.record(incident, { type: 'Normal', reason: 'AlarmCleared', note });
    }
  }
}

/**
 * The name of an Incident is taken, either by the same episode, opened by another replica, or by
 * something else.
 */
class NameTaken extends Error {
  readonly incident: Incident;
  readonly bySameEpisode: boolean;
  constructor(incident: Incident, alarm: Alarm) {
    super(`Incident ${incident.metadata.namespace}/${incident.metadata.name} already exists`);
    this.incident = incident;
    this.bySameEpisode = isOf(alarm.source, incident) && episodeStart(incident) === Date.parse(alarm.source.startTime);
  }
}

/** Whether this source opened the Incident for this alarm. */
const isOf = (source: AlarmEnd['source'], { spec }: Incident): boolean =>
  spec.source !== undefined && alarmKey(spec.source) === alarmKey(source);

const episodeStart = (incident: Incident): number =>
  Date.parse(incident.spec.source?.startTime ?? incident.metadata.creationTimestamp ?? '');

/** Whether it has ended, its end is decided, or it is being deleted. */
function isFinished(incident: Incident): boolean {
  return (
    incident.metadata.deletionTimestamp !== undefined ||
    findCondition(incident.status?.conditions, CONDITIONS.Finished) !== undefined
  );
}

function toKnownIncident(incident: Incident): KnownIncident {
  return {
    name: incident.metadata.name,
    startTime: incident.spec.source?.startTime ?? incident.metadata.creationTimestamp ?? '',
    finished: isFinished(incident),
    alarm: incident.status?.alarm,
  };
}

function latest(a: string | undefined, b: string): string {
  return a === undefined || Date.parse(a) < Date.parse(b) ? b : a;
}

/**
 * Remembers a value, and forgets the one that was set the longest time ago when there are too many.
 */
function remember(memory: Map<string, string>, key: string, value: string): void {
  memory.delete(key);
  memory.set(key, value);
  const oldest = memory.keys().next();
  if (memory.size > MAX_REMEMBERED && oldest.done !== true) memory.delete(oldest.value);
}
