// Plans which messages of an Incident to send now, and records the results of earlier ones. Pure.
//
// A message is Sending in status before its first byte is sent. A process that finds a Sending
// message of another process cannot know whether it arrived, so it makes the message Indeterminate
// and does not send it again. At worst, a crash loses a message, and the status says so.

import type { Incident } from '../../api/incident.ts';
import type { Notification } from '../../api/incident-status.ts';
import type { BackoffOptions } from '../../net/retry.ts';
import { findEvent } from './message.ts';
import type { Delivery } from './post.ts';
import type { Receiver } from './receiver.ts';

/** After this many tries a message is Failed. With the back-off below, that is about four hours. */
export const MAX_TRIES = 24;
export const BACKOFF: BackoffOptions = { baseMs: 2000, maxMs: 15 * 60_000 };
/** Ends older than this get no new message: a new receiver is not notified of the past. In ms. */
const NEWS_MS = 60 * 60_000;

/** What this process knows about a message in addition to the status. */
export interface Try {
  readonly tries: number;
  /** Undefined until it has been sent. */
  readonly delivery: Delivery | undefined;
  /** The earliest time of the next try, in epoch ms, if the receiver or the back-off set one. */
  readonly notBefore: number | undefined;
}

export interface NotifyPlan {
  /** All messages for the status; undefined when they do not change. */
  readonly rows: readonly Notification[] | undefined;
  /** The rows that become final or Retrying; for events and metrics. */
  readonly settled: readonly Notification[];
  /** The rows to send as soon as they are Sending in status. */
  readonly send: readonly Notification[];
  /** Milliseconds until the next retry is due. */
  readonly requeueAfterMs: number | undefined;
}

export const rowKey = ({ receiver, event }: Pick<Notification, 'receiver' | 'event'>) => `${receiver}/${event}`;

export interface NotifySituation {
  readonly receivers: readonly Receiver[];
  readonly tries: ReadonlyMap<string, Try>;
  /** Identifies this process, and the messages that it is sending. */
  readonly sender: string;
  readonly now: Date;
  readonly backoff?: BackoffOptions;
  /** False when this process is about to exit and must begin no message. Default true. */
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
      // The time does not identify a try, because two processes may begin in the same millisecond.
      const own = known !== undefined && known.tries === row.tries && row.message === `by ${sender}`;
      if (!own) settle(row, 'Indeterminate', 'the controller stopped while sending it; it may have arrived');
      else if (known.delivery === undefined) send.push(row);
      else settleDelivery(row, known.delivery, settle);
    } else if (row.state === 'Retrying') {
      if (receiver === undefined) {
        settle(row, 'Failed', `${row.message ?? 'it did not arrive'}; the receiver is no longer configured`);
        continue;
      }
      // A new leader does not know what the receiver asked for, and uses the back-off.
      const dueAt = known?.notBefore ?? Date.parse(row.time) + backoffStep(row.tries, backoff);
      const wait = dueAt - now.getTime();
      if (wait > 0) requeueAfterMs = Math.min(requeueAfterMs ?? Number.POSITIVE_INFINITY, wait);
      else if (mayStart) begin(row);
    }
  }
  const event = findEvent(incident);
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

/**
 * Exponential, and without jitter, so that the status alone determines when the next try is due.
 */
export function backoffStep(tries: number, { baseMs, maxMs }: BackoffOptions): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(0, tries - 1), 30));
}
