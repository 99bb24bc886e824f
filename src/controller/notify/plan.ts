// Which messages of an Incident are to be sent now, and what became of those that were. Pure.
//
// A message is in status as Sending before its first byte leaves. Whoever finds a Sending that is not its own cannot know
// whether it arrived, and makes it Indeterminate: nobody sends it again. So a crash loses a message at worst, and says so.

import type { Incident, Notification } from '../../api/incident.ts';
import type { BackoffOptions } from '../../net/retry.ts';
import { eventOf } from './message.ts';
import type { Delivery } from './post.ts';
import type { Receiver } from './receiver.ts';

/** After this many tries a message counts as Failed; with the back-off below that is about four hours. */
export const MAX_TRIES = 24;
export const BACKOFF: BackoffOptions = { baseMs: 2000, maxMs: 15 * 60_000 };
/** An end that is older than this when it is first seen is history: a new receiver is not told of the past. In ms. */
const NEWS_MS = 60 * 60_000;

/** What this process knows of a message beyond the status. */
export interface Try {
  readonly tries: number;
  /** Undefined before it was sent. */
  readonly delivery: Delivery | undefined;
  /** Not before this moment (epoch milliseconds), when the receiver or the back-off said so. */
  readonly notBefore: number | undefined;
}

export interface NotifyPlan {
  /** All messages as they shall stand in status; undefined when they stay as they are. */
  readonly rows: readonly Notification[] | undefined;
  /** Of these, the ones whose state changes to an end or a retry: for events and metrics. */
  readonly settled: readonly Notification[];
  /** To be sent as soon as they stand in status as Sending. */
  readonly send: readonly Notification[];
  /** Milliseconds until the next retry is due. */
  readonly requeueAfterMs: number | undefined;
}

export const rowKey = ({ receiver, event }: Pick<Notification, 'receiver' | 'event'>) => `${receiver}/${event}`;

export interface NotifySituation {
  readonly receivers: readonly Receiver[];
  readonly tries: ReadonlyMap<string, Try>;
  /** Names this process and no other: a Sending that bears it is our own. */
  readonly sender: string;
  readonly now: Date;
  readonly backoff?: BackoffOptions;
  /** False when this process is about to end: then nothing new is begun. Default true. */
  readonly mayStart?: boolean;
}

export function planNotifications(incident: Incident, situation: NotifySituation): NotifyPlan {
  const { receivers, tries, sender, now, backoff = BACKOFF, mayStart = true } = situation;
  const before = incident.status?.notifications ?? [];
  const rows = new Map(before.map((row) => [rowKey(row), row]));
  const settled: Notification[] = [];
  const send: Notification[] = [];
  let requeueAfterMs: number | undefined;
  const settle = (row: Notification, state: Notification['state'], message?: string) => {
    const { message: _message, ...rest } = row;
    const next = { ...rest, state, time: now.toISOString(), ...(message === undefined ? {} : { message }) };
    rows.set(rowKey(row), next);
    settled.push(next);
  };
  const begin = (row: Pick<Notification, 'receiver' | 'event' | 'tries'>) => {
    const { receiver, event } = row;
    const next: Notification = {
      receiver,
      event,
      state: 'Sending',
      tries: row.tries + 1,
      time: now.toISOString(),
      message: `by ${sender}`,
    };
    rows.set(rowKey(row), next);
    send.push(next);
  };

  for (const row of before) {
    const known = tries.get(rowKey(row));
    const receiver = receivers.find(({ name }) => name === row.receiver);
    if (row.state === 'Sending') {
      // Not by its time: two processes may begin in the same millisecond.
      const own = known !== undefined && known.tries === row.tries && row.message === `by ${sender}`;
      if (!own) settle(row, 'Indeterminate', 'the controller ended while it was being sent; it may have arrived');
      else if (known.delivery === undefined) send.push(row);
      else settleDelivery(row, known.delivery, settle);
    } else if (row.state === 'Retrying') {
      if (receiver === undefined) {
        settle(row, 'Failed', `${row.message ?? 'it did not arrive'}; the receiver is configured no more`);
        continue;
      }
      // A leader that is new does not know what the receiver asked for; the back-off is what it goes by.
      const dueAt = known?.notBefore ?? Date.parse(row.time) + backoffStep(row.tries, backoff);
      const wait = dueAt - now.getTime();
      if (wait > 0) requeueAfterMs = Math.min(requeueAfterMs ?? Number.POSITIVE_INFINITY, wait);
      else if (mayStart) begin(row);
    }
  }
  const event = eventOf(incident);
  const finishTime = incident.status?.finishTime;
  const isNews = finishTime === undefined || now.getTime() - Date.parse(finishTime) < NEWS_MS;
  if (event !== undefined && isNews && mayStart) {
    for (const { name, events } of receivers) {
      if (events.includes(event) && !rows.has(rowKey({ receiver: name, event })))
        begin({ receiver: name, event, tries: 0 });
    }
  }
  const changed = settled.length > 0 || send.some((row) => !before.includes(row));
  return { rows: changed ? [...rows.values()] : undefined, settled, send, requeueAfterMs };
}

function settleDelivery(
  row: Notification,
  delivery: Delivery,
  settle: (row: Notification, state: Notification['state'], message?: string) => void,
): void {
  if (delivery.type === 'sent') settle(row, 'Sent');
  else if (delivery.type === 'refused') settle(row, 'Failed', delivery.why);
  else if (delivery.type === 'unknown') settle(row, 'Indeterminate', `${delivery.why}; it may have arrived`);
  else if (row.tries >= MAX_TRIES) settle(row, 'Failed', `${delivery.why}; given up after ${row.tries} tries`);
  else settle(row, 'Retrying', delivery.why);
}

/** Exponential, without jitter: the status alone must tell when the next try is due. */
export function backoffStep(tries: number, { baseMs, maxMs }: BackoffOptions): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(0, tries - 1), 30));
}
