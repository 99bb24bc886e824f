// The gateway's metrics.

import type { DayUsage, Quota } from '../api/quota.ts';
import { Counter, Gauge, Histogram, type Registry, SECONDS_BUCKETS } from '../observability/metrics.ts';

export interface GatewayMetrics {
  readonly appends: Counter<'kind'>;
  readonly ackSeconds: Histogram;
  readonly modelCalls: Counter<'model' | 'status'>;
  readonly modelSeconds: Histogram<'model'>;
  readonly modelCostUSD: Counter<'model'>;
  readonly kubeRequests: Counter<'verb' | 'kind' | 'status'>;
  readonly dockerRequests: Counter<'operation' | 'kind' | 'status'>;
  readonly refused: Counter<'door' | 'reason'>;
  readonly streamsCut: Counter;
  readonly tripwires: Counter<'tripwire'>;
  readonly statusWrites: Counter<'result'>;
  readonly checkpointWrites: Counter<'result'>;
  readonly unexplained: Counter;
  /** Registers a gauge that is read on each scrape. */
  observe(
    name:
      | 'leases'
      | 'streams'
      | 'body_bytes'
      | 'audit_healthy'
      | 'audit_full'
      | 'audit_free_bytes'
      | 'audit_broken'
      | 'audit_broken_sessions',
    help: string,
    read: () => number,
  ): void;
  /** Registers the gauges of the daily quotas, which are read on each scrape. */
  observeClasses(read: () => readonly ClassUsage[]): void;
}

/** The quota of a class, and what of it is used today. */
export interface ClassUsage {
  readonly name: string;
  readonly quota: Quota;
  readonly usage: DayUsage;
}

export function createGatewayMetrics(registry: Registry): GatewayMetrics {
  const registers = [registry];
  return {
    appends: new Counter({
      name: 'oplab_audit_appends_total',
      help: 'Entries appended to the audit log.',
      labelNames: ['kind'],
      registers,
    }),
    ackSeconds: new Histogram({
      name: 'oplab_audit_ack_seconds',
      help: 'Time from an append to its durable acknowledgement.',
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    modelCalls: new Counter({
      name: 'oplab_model_calls_total',
      help: 'Calls forwarded to the model API, by the status of its answer.',
      labelNames: ['model', 'status'],
      registers,
    }),
    modelSeconds: new Histogram({
      name: 'oplab_model_call_seconds',
      help: 'Duration of calls to the model API, including the whole stream.',
      labelNames: ['model'],
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    modelCostUSD: new Counter({
      name: 'oplab_model_cost_usd_total',
      help: 'Cost of model calls in US dollars, according to the price table.',
      labelNames: ['model'],
      registers,
    }),
    kubeRequests: new Counter({
      name: 'oplab_kube_requests_total',
      help: 'Requests forwarded to the API server, by kind: read, write or review.',
      labelNames: ['verb', 'kind', 'status'],
      registers,
    }),
    dockerRequests: new Counter({
      name: 'oplab_docker_requests_total',
      help: 'Requests at the docker door, by kind: read, private or write.',
      labelNames: ['operation', 'kind', 'status'],
      registers,
    }),
    refused: new Counter({
      name: 'oplab_refused_total',
      help: 'Requests that a door refused, by error code.',
      labelNames: ['door', 'reason'],
      registers,
    }),
    streamsCut: new Counter({
      name: 'oplab_streams_cut_total',
      help: 'Streams cut because their lease died.',
      registers,
    }),
    tripwires: new Counter({
      name: 'oplab_tripwires_touched_total',
      help: 'Leases that ended because a tripwire was touched: secret, token or host.',
      labelNames: ['tripwire'],
      registers,
    }),
    statusWrites: new Counter({
      name: 'oplab_status_writes_total',
      help: 'Writes of Incident status, by result.',
      labelNames: ['result'],
      registers,
    }),
    checkpointWrites: new Counter({
      name: 'oplab_checkpoint_writes_total',
      help: 'Writes of the signed checkpoint of the audit log to its ConfigMap, by result.',
      labelNames: ['result'],
      registers,
    }),
    unexplained: new Counter({
      name: 'oplab_unexplained_writes_total',
      help: 'Incidents that ended because a write arrived while no command was running.',
      registers,
    }),
    observe(name, help, read) {
      new Gauge({
        name: `oplab_${name}`,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    observeClasses(read) {
      const gauge = (name: string, help: string, value: (one: ClassUsage) => number) =>
        new Gauge({
          name: `oplab_class_${name}`,
          help,
          labelNames: ['agent_class'],
          registers,
          collect() {
            this.reset();
            for (const one of read()) this.set({ agent_class: one.name }, value(one));
          },
        });
      gauge(
        'day_cost_usd',
        'Cost of the model calls of an AgentClass today (UTC), in US dollars.',
        ({ usage }) => usage.costMilliUSD / 1000,
      );
      gauge(
        'day_cost_limit_usd',
        'Daily limit on the cost of an AgentClass, in US dollars.',
        ({ quota }) => quota.maxCostMilliUSDPerDay / 1000,
      );
      gauge('day_tokens', 'Tokens of the model calls of an AgentClass today (UTC).', ({ usage }) => usage.tokens);
      gauge('day_tokens_limit', 'Daily limit on the tokens of an AgentClass.', ({ quota }) => quota.maxTokensPerDay);
      gauge('day_limit_reached', '1 while an AgentClass has reached a limit of the day.', ({ usage }) =>
        usage.limitReached === undefined ? 0 : 1,
      );
    },
  };
}
