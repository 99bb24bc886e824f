// A controller in front of a real API server, with patients to repair. The test plays the kubelet and
// the gateway, and moves the clock.

import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Incident } from '../../src/api/incident.ts';
import { type Condition, findCondition } from '../../src/api/meta.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { type IncidentProbe, Patient } from './incident-probe.ts';
import { type RunningController, startController } from './running-controller.ts';

/** One API server and one controller for all tests of the file. A failed test prints its log. */
export function useController(options: { readonly sweepEveryMs?: number } = {}): ControllerHarness {
  const lab = new ControllerHarness();
  beforeAll(() => lab.start(options));
  afterEach(({ task }) => lab.printLog(task.result?.state === 'fail'));
  afterAll(() => lab.stop());
  return lab;
}

class ControllerHarness {
  #server: ApiServer | undefined;
  #running: RunningController | undefined;
  /** By how many milliseconds the controller's clock is ahead. */
  #ahead = 0;
  #patients = 0;
  /** The controller's clock. */
  readonly now = () => new Date(Date.now() + this.#ahead);

  get server(): ApiServer {
    if (this.#server === undefined) throw new Error('there is an API server only in a test');
    return this.#server;
  }

  async start(options: { readonly sweepEveryMs?: number }): Promise<void> {
    this.#server = await startApiServer();
    this.#running = await startController(this.#server, { now: this.now, ...options });
  }

  printLog(isFailed: boolean): void {
    const lines = this.#running?.log.lines ?? [];
    if (isFailed) console.log(lines.join('\n'));
    lines.length = 0;
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    await this.#server?.stop();
  }

  /** A new patient in a namespace of its own. */
  patient(state?: string): Promise<Patient> {
    this.#patients += 1;
    return new Patient(this.server.client, `patient-${this.#patients}`, this.now).admit(state);
  }

  /** Moves the controller's clock forward. */
  async pass(seconds: number, incident: IncidentProbe): Promise<void> {
    this.#ahead += seconds * 1000;
    await incident.poke();
  }
}

export const condition = (incident: Incident, type: string): Condition | undefined =>
  findCondition(incident.status?.conditions, type);
export const lastAttempt = (incident: Incident) => incident.status?.attempts?.at(-1);
