// The intake: alerts in, alarms raised and cleared. One alert that cannot be taken does not keep the others out.

import { AlertRefused, type ErrorCode, IntakeUnavailable, messageOf, NoRoute, OplabError } from '../../errors.ts';
import { isForbidden, isInvalid, isNotFound } from '../../kube/errors.ts';
import type { Log } from '../../kube/log.ts';
import type { IncidentOpener } from '../alarm/incident-opener.ts';
import { alarmOf, namespaceOf } from './alarm-of-alert.ts';
import type { Alert } from './alert.ts';
import { type Route, routeOf } from './route.ts';

/** What became of one alert. `over`: its end was known before its beginning, so nothing was opened. */
export interface Receipt {
  readonly fingerprint: string;
  readonly alertname?: string;
  readonly result: 'opened' | 'counted' | 'over' | 'cleared' | 'refused' | 'failed';
  readonly route?: string;
  /** namespace/name */
  readonly incident?: string;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export interface IntakeOptions {
  readonly routes: readonly Route[];
  readonly book: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly log: Log;
  readonly onReceipt?: (receipt: Receipt) => void;
}

/** Alerts that are dealt with at the same time, over all requests; a bound on memory. */
const MAX_UNDER_WAY = 5000;

export class Intake {
  readonly #options: IntakeOptions;
  #underWay = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Deals with every alert of a delivery; resolves when all that could be written is. @throws IntakeUnavailable */
  async take(alerts: readonly Alert[]): Promise<Receipt[]> {
    if (this.#underWay + alerts.length > MAX_UNDER_WAY) {
      throw new IntakeUnavailable(`${this.#underWay} alerts are being dealt with; send these ${alerts.length} again`);
    }
    this.#underWay += alerts.length;
    try {
      return await Promise.all(alerts.map((alert) => this.#takeOne(alert)));
    } finally {
      this.#underWay -= alerts.length;
    }
  }

  async #takeOne(alert: Alert): Promise<Receipt> {
    const { fingerprint, labels } = alert;
    const route = routeOf(this.#options.routes, alert);
    const head = {
      fingerprint,
      ...(labels.alertname === undefined ? {} : { alertname: labels.alertname }),
      ...(route === undefined ? {} : { route: route.name }),
    };
    let receipt: Receipt;
    try {
      if (route === undefined) throw new NoRoute(`no route matches the labels ${JSON.stringify(labels).slice(0, 512)}`);
      receipt = { ...head, ...(await this.#write(alert, route)) };
    } catch (error) {
      const failure = failureOf(error);
      const result = failure instanceof IntakeUnavailable ? 'failed' : 'refused';
      receipt = { ...head, result, error: { code: failure.code, message: failure.message } };
      this.#options.log.warn({ ...receipt }, 'alert not taken');
    }
    this.#options.onReceipt?.(receipt);
    return receipt;
  }

  async #write(alert: Alert, route: Route): Promise<Pick<Receipt, 'result' | 'incident'>> {
    const { book, log } = this.#options;
    if (!alert.firing) {
      const { fingerprint, endTime = alert.startTime } = alert;
      await book.clear({ fingerprint, namespace: namespaceOf(route, alert), endTime });
      return { result: 'cleared' };
    }
    const alarm = alarmOf(route, alert);
    const { incident, opened } = await book.raise(alarm);
    if (incident === undefined) return { result: 'over' };
    const name = `${alarm.namespace}/${incident}`;
    if (opened) log.info({ incident: name, fingerprint: alert.fingerprint, route: route.name }, 'Incident opened');
    return { result: opened ? 'opened' : 'counted', incident: name };
  }
}

/** What will not get better by sending it again is refused; everything else is to be sent again. */
function failureOf(error: unknown): NoRoute | AlertRefused | IntakeUnavailable {
  if (error instanceof NoRoute || error instanceof AlertRefused) return error;
  const message = messageOf(error);
  if (isInvalid(error) || isForbidden(error) || isNotFound(error)) {
    return new AlertRefused(`the API server does not take the Incident: ${message}`, error);
  }
  const known = error instanceof OplabError;
  return new IntakeUnavailable(known ? message : 'the Incident could not be written; the log says why', error);
}
