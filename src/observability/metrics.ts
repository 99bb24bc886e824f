// Metrics of a process: a prom-client registry with Node's own numbers in it, all names beginning with oplab_.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** A fresh registry, labelled with the process it belongs to. */
export function createRegistry(process: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ process });
  collectDefaultMetrics({ register: registry, prefix: 'oplab_' });
  return registry;
}

/** Buckets in seconds for things that take between a millisecond and some minutes. */
export const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
