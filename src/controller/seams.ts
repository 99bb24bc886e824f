// What the controller takes from its surroundings besides the API server. Tests replace it.

import { type HttpFetch, httpFetch } from '../checks/http-fetch.ts';
import type { Checkpoint } from './incident/steps.ts';

export interface Seams {
  readonly now: () => Date;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** Fetches for checks. */
  readonly fetch: HttpFetch;
  readonly checkpoint: Checkpoint;
}

export const systemSeams: Seams = {
  now: () => new Date(),
  random: Math.random,
  fetch: httpFetch,
  checkpoint: () => Promise.resolve(),
};
