// The prometheus check: an instant query to a Prometheus in a target namespace, judged by CEL over `samples`.

import { z } from 'zod';
import type { PrometheusCheck } from '../api/check.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Sample } from './cel-protocol.ts';
import type { Reading } from './http-check.ts';
import type { HttpFetch } from './http-fetch.ts';
import { CheckUnreadable } from './observation.ts';
import { fetchService } from './service-fetch.ts';

/** [seconds, value as text]: JSON has no NaN. */
const point = z.tuple([z.number(), z.string()]);
const answer = z.discriminatedUnion('status', [
  z.object({ status: z.literal('error'), errorType: z.string().default(''), error: z.string().default('') }),
  z.object({
    status: z.literal('success'),
    data: z.discriminatedUnion('resultType', [
      z.object({
        resultType: z.literal('vector'),
        result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: point.optional() })),
      }),
      z.object({ resultType: z.literal('scalar'), result: point }),
      z.object({ resultType: z.enum(['matrix', 'string']) }),
    ]),
  }),
]);

/** What Prometheus itself may take for the query. */
const QUERY_TIMEOUT = '4s';

/** @throws CheckUnreadable, also for a query that Prometheus refuses: an error is no sample */
export async function readPrometheus(
  check: PrometheusCheck,
  namespace: string,
  kube: Pick<KubeClient, 'get' | 'list'>,
  fetch: HttpFetch,
): Promise<Reading> {
  const { service, port, scheme, pathPrefix, query } = check;
  const path = `${pathPrefix}/api/v1/query?${new URLSearchParams({ query, timeout: QUERY_TIMEOUT })}`;
  const { status, body, answeredBy } = await fetchService({ service, namespace, port, scheme, path }, kube, fetch);
  const who = `Prometheus ${namespace}/${service}`;
  const parsed = answer.safeParse(jsonOf(body));
  if (!parsed.success) {
    throw new CheckUnreadable(`${who}: status ${status}, and no answer of the query API: ${body.slice(0, 200).trim()}`);
  }
  if (parsed.data.status === 'error') {
    const { errorType, error } = parsed.data;
    throw new CheckUnreadable(`${who} refuses the query: ${errorType}: ${error}`);
  }
  if (status !== 200) throw new CheckUnreadable(`${who}: status ${status}`);
  const samples = samplesOf(parsed.data.data, who);
  return { variables: { samples: { samples } }, shown: { samples: samples.map(sampleText) }, samples, answeredBy };
}

type Data = Extract<z.infer<typeof answer>, { status: 'success' }>['data'];

function samplesOf(data: Data, who: string): Sample[] {
  switch (data.resultType) {
    case 'scalar':
      return [{ labels: {}, value: numberOf(data.result[1]) }];
    case 'vector':
      // A native histogram has no value; nothing here can judge one.
      return data.result.flatMap(({ metric, value }) =>
        value === undefined ? [] : [{ labels: metric, value: numberOf(value[1]) }],
      );
    default:
      throw new CheckUnreadable(`${who}: the query gives a ${data.resultType}; a check needs a vector or a scalar`);
  }
}

/** As Prometheus writes numbers: "1", "1e+06", "NaN", "+Inf". */
function numberOf(text: string): number {
  if (/^[+-]?Inf$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

/** For people: `{store="4"} 1`. */
export function sampleText({ labels, value }: Sample): string {
  const { __name__: name = '', ...others } = labels;
  const pairs = Object.entries(others).map(([label, text]) => `${label}=${JSON.stringify(text)}`);
  return `${name}${pairs.length > 0 || name === '' ? `{${pairs.join(',')}}` : ''} ${value}`;
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
