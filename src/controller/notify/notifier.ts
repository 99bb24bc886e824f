// Notifies receivers of the end of Incidents while this process leads.

import { randomUUID } from 'node:crypto';
import { NOTIFIER_MANAGER } from '../../api/group.ts';
import { type Incident, incident as incidentSchema } from '../../api/incident.ts';
import type { Notification } from '../../api/incident-status.ts';
import { errorMessage } from '../../errors.ts';
import { applyStatus, unchanged } from '../../kube/apply-status.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isConflict, isNotFound } from '../../kube/errors.ts';
import type { Log } from '../../kube/log.ts';
import { objectKey, splitKey } from '../../kube/object.ts';
import { INCIDENTS } from '../../kube/resources.ts';
import { WorkQueue } from '../../kube/work-queue.ts';
import type { BackoffOptions } from '../../net/retry.ts';
import type { Note } from '../event.ts';
import { idempotencyKey, slackBody, webhookBody } from './message.ts';
import { BACKOFF, backoffStep, type NotifyPlan, planNotifications, rowKey, type Try } from './plan.ts';
import { type Delivery, post } from './post.ts';
import type { Receiver, UrlSource } from './receiver.ts';

/** Where and how notifications are sent. */
export interface NotifyOptions {
  readonly receivers: readonly Receiver[];
  readonly readUrl: UrlSource;
  readonly backoff?: BackoffOptions;
  /** The time limit of one POST, in milliseconds. */
  readonly timeLimitMs?: number;
  /** Called for every message whose state has changed; for metrics. */
  readonly onSettled?: (row: Notification) => void;
  /** For tests: called between the write of Sending and the POST. */
  readonly beforeSending?: () => Promise<void>;
}

interface NotifierDeps {
  readonly client: Pick<KubeClient, 'get' | 'apply'>;
  readonly log: Log;
  readonly now: () => Date;
  readonly record: (incident: Incident, note: Note) => void;
}

/** How many Incidents are handled at the same time. */
const CONCURRENCY = 4;

export class Notifier {
  readonly #options: NotifyOptions;
  readonly #deps: NotifierDeps;
  readonly #queue: WorkQueue;
  readonly #sender = randomUUID();
  /** By UID, then by message. Without an entry, a message that is Sending becomes Indeterminate. */
  readonly #tries = new Map<string, Map<string, Try>>();
  readonly #uids = new Map<string, string>();

  constructor(options: NotifyOptions, deps: NotifierDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#queue = new WorkQueue({
      process: (key, signal) => this.#process(key, signal),
      concurrency: CONCURRENCY,
      logger: deps.log,
    });
  }

  /**
   * Call it for all Incidents at the start, and for each one that changes. Most need no message.
   */
  consider(incident: Incident): void {
    const tries = this.#tries.get(incident.metadata.uid) ?? new Map<string, Try>();
    const { rows, send, requeueAfterMs } = this.#plan(incident, tries, true);
    if (rows !== undefined || send.length > 0 || requeueAfterMs !== undefined) this.#queue.add(objectKey(incident));
  }

  /** @param key of an Incident that was deleted, or whose messages are all settled */
  forget(key: string): void {
    this.#tries.delete(this.#uids.get(key) ?? '');
    this.#uids.delete(key);
  }

  /**
   * Sends until the signal aborts, and resolves when the results of pending messages are recorded.
   */
  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(signal);
  }

  async #process(key: string, signal: AbortSignal): Promise<number | undefined> {
    for (;;) {
      const incident = await this.#read(key);
      if (incident === undefined) {
        this.forget(key);
        return undefined;
      }
      const tries = this.#findTries(key, incident.metadata.uid);
      const plan = this.#plan(incident, tries, !signal.aborted);
      // Remembered before the write: if the write's answer is lost, the row is still our own.
      for (const row of plan.send) {
        const notBefore = tries.get(rowKey(row))?.notBefore;
        tries.set(rowKey(row), { tries: row.tries, delivery: undefined, notBefore });
      }
      if (plan.rows !== undefined && !(await this.#write(incident, plan.rows))) continue;
      for (const row of plan.settled) this.#report(incident, row);
      if (plan.send.length === 0) {
        if (plan.rows !== undefined) continue;
        if (plan.requeueAfterMs === undefined) this.forget(key);
        return plan.requeueAfterMs;
      }
      await this.#options.beforeSending?.();
      await Promise.all(
        plan.send.map(async (row) => {
          const delivery = await this.#deliver(incident, row);
          const wait =
            delivery.type === 'again'
              ? (delivery.afterMs ?? backoffStep(row.tries, this.#options.backoff ?? BACKOFF))
              : undefined;
          const notBefore = wait === undefined ? undefined : this.#deps.now().getTime() + wait;
          tries.set(rowKey(row), { tries: row.tries, delivery, notBefore });
        }),
      );
    }
  }

  #plan(incident: Incident, tries: ReadonlyMap<string, Try>, mayStart: boolean): NotifyPlan {
    const { receivers, backoff = BACKOFF } = this.#options;
    return planNotifications(incident, {
      receivers,
      tries,
      sender: this.#sender,
      now: this.#deps.now(),
      backoff,
      mayStart,
    });
  }

  async #read(key: string): Promise<Incident | undefined> {
    try {
      return incidentSchema.parse(await this.#deps.client.get(INCIDENTS, splitKey(key)));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  #findTries(key: string, uid: string): Map<string, Try> {
    if (this.#uids.get(key) !== uid) this.forget(key);
    this.#uids.set(key, uid);
    const tries = this.#tries.get(uid) ?? new Map<string, Try>();
    this.#tries.set(uid, tries);
    return tries;
  }

  /**
   * The resource version is the fence: if two leaders want to send, one fails here.
   * @returns false then
   */
  async #write(incident: Incident, rows: readonly Notification[]): Promise<boolean> {
    const document = { metadata: unchanged(incident), status: { notifications: rows } };
    try {
      await applyStatus(this.#deps.client, INCIDENTS, document, NOTIFIER_MANAGER);
      return true;
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
  }

  async #deliver(incident: Incident, row: Notification): Promise<Delivery> {
    const receiver = this.#options.receivers.find(({ name }) => name === row.receiver);
    if (receiver === undefined) return { type: 'refused', why: 'the receiver is no longer configured' };
    let url: URL;
    try {
      url = await this.#options.readUrl(receiver.name);
    } catch (error) {
      return { type: 'again', why: errorMessage(error) };
    }
    const body =
      receiver.type === 'slack' ? slackBody(incident, row.event) : webhookBody(incident, receiver.name, row.event);
    const key = idempotencyKey(incident, receiver.name, row.event);
    return await post(url, { body, idempotencyKey: key }, this.#options.timeLimitMs);
  }

  #report(incident: Incident, row: Notification): void {
    const { receiver, event, state, tries, message } = row;
    this.#options.onSettled?.(row);
    const details = { incident: objectKey(incident), receiver, event, state, tries, reason: message };
    if (state === 'Sent') this.#deps.log.info(details, 'notification sent');
    else this.#deps.log.warn(details, 'notification not sent');
    // Only the first retry is reported, and later the final result.
    if (state === 'Retrying' && tries > 1) return;
    const reason = { Sent: 'Notified', Retrying: 'NotificationDelayed', Failed: 'NotificationFailed' };
    this.#deps.record(incident, {
      type: state === 'Sent' ? 'Normal' : 'Warning',
      reason: state === 'Indeterminate' || state === 'Sending' ? 'NotificationIndeterminate' : reason[state],
      note: `${event}, receiver ${receiver}: ${state}${message === undefined ? '' : `: ${message}`}`,
    });
  }
}
