// The intake: raises and clears alarms for alerts. A refused alert does not block others.

import type { ErrorCode } from '../../error-codes.ts';
import { AlertRefused, errorMessage, IntakeUnavailable, NoRoute, OplabError } from '../../errors.ts';
import { isForbidden, isInvalid, isNotFound, isQuotaExceeded } from '../../kube/errors.ts';
import type { Log } from '../../kube/log.ts';
import type { IncidentOpener } from '../alarm/incident-opener.ts';
import { alertSource, buildAlarm, incidentNamespace } from './alarm-of-alert.ts';
import { type Alert, MAX_ALERTS } from './alert.ts';
import { matchesRoute, type Route } from './route.ts';

/**
 * The result for one alert. `over`: its end arrived before its beginning, so nothing was opened.
 */
export interface Receipt {
  readonly fingerprint: string;
  readonly alertname?: string;
  readonly result: 'opened' | 'counted' | 'over' | 'cleared' | 'refused' | 'failed';
  readonly route: string;
  /** namespace/name */
  readonly incident?: string;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export interface IntakeOptions {
  readonly incidentOpener: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly log: Log;
  readonly onReceipt?: (receipt: Receipt) => void;
}

/** How many alerts may be handled at the same time, over all requests; limits memory. */
const MAX_UNDER_WAY = MAX_ALERTS;

export class Intake {
  readonly #options: IntakeOptions;
  #underWay = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /**
   * Handles every alert of a delivery to a route, and resolves after all writes.
   * @throws IntakeUnavailable
   */
  async take(route: Route, alerts: readonly Alert[]): Promise<Receipt[]> {
    if (this.#underWay + alerts.length > MAX_UNDER_WAY) {
      throw new IntakeUnavailable(
        `${this.#underWay} alerts are being handled; send these ${alerts.length} again later`,
      );
    }
    this.#underWay += alerts.length;
    try {
      return await Promise.all(alerts.map((alert) => this.#takeOne(route, alert)));
    } finally {
      this.#underWay -= alerts.length;
    }
  }

  async #takeOne(route: Route, alert: Alert): Promise<Receipt> {
    const { fingerprint, labels } = alert;
    const head = {
      fingerprint,
      ...(labels.alertname === undefined ? {} : { alertname: labels.alertname }),
      route: route.name,
    };
    let receipt: Receipt;
    try {
      if (!matchesRoute(route, alert)) {
        throw new NoRoute(`route ${route.name} does not match the labels ${JSON.stringify(labels).slice(0, 512)}`);
      }
      receipt = { ...head, ...(await this.#write(alert, route)) };
    } catch (error) {
      const failure = classify(error);
      const result = failure instanceof IntakeUnavailable ? 'failed' : 'refused';
      receipt = { ...head, result, error: { code: failure.code, message: failure.message } };
      this.#options.log.warn({ ...receipt }, 'alert not accepted');
    }
    this.#options.onReceipt?.(receipt);
    return receipt;
  }

  async #write(alert: Alert, route: Route): Promise<Pick<Receipt, 'result' | 'incident'>> {
    const { incidentOpener, log } = this.#options;
    if (!alert.firing) {
      const { endTime = alert.startTime } = alert;
      await incidentOpener.clear({
        source: alertSource(route, alert),
        namespace: incidentNamespace(route, alert),
        endTime,
      });
      return { result: 'cleared' };
    }
    const alarm = buildAlarm(route, alert);
    const { incident, opened } = await incidentOpener.raise(alarm);
    if (incident === undefined) return { result: 'over' };
    const name = `${alarm.namespace}/${incident}`;
    if (opened) log.info({ incident: name, fingerprint: alert.fingerprint, route: route.name }, 'Incident opened');
    return { result: opened ? 'opened' : 'counted', incident: name };
  }
}

/**
 * Errors that would occur again are refusals; after any other error the alert should be sent again.
 */
function classify(error: unknown): NoRoute | AlertRefused | IntakeUnavailable {
  if (error instanceof NoRoute || error instanceof AlertRefused) return error;
  const message = errorMessage(error);
  if (isQuotaExceeded(error)) return new IntakeUnavailable(`the namespace has too many Incidents: ${message}`, error);
  if (isInvalid(error) || isForbidden(error) || isNotFound(error)) {
    return new AlertRefused(`the API server refused the Incident: ${message}`, error);
  }
  const known = error instanceof OplabError;
  return new IntakeUnavailable(known ? message : 'the Incident could not be written; the log says why', error);
}
