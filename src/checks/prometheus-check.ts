// The prometheus check: an instant query on a Prometheus in a target namespace.

import * as z from 'zod';
import type { PrometheusCheck } from '../api/check.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Sample } from './cel-protocol.ts';
import type { Reading } from './http-check.ts';
import type { HttpFetch } from './http-fetch.ts';
import { CheckUnreadable } from './observation.ts';
import { fetchService } from './service-fetch.ts';

/** Seconds, and the value as text because JSON has no NaN. */
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

/** How long Prometheus may evaluate the query. */
const QUERY_TIMEOUT = '4s';

/**
 * @throws CheckUnreadable, also for a query that Prometheus rejects: an error is not an empty
 * result
 */
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
  const parsed = answer.safeParse(parseJson(body));
  if (!parsed.success) {
    throw new CheckUnreadable(`${who}: status ${status}, not an answer of the query API: ${body.slice(0, 200).trim()}`);
  }
  if (parsed.data.status === 'error') {
    const { errorType, error } = parsed.data;
    throw new CheckUnreadable(`${who} rejects the query: ${errorType}: ${error}`);
  }
  if (status !== 200) throw new CheckUnreadable(`${who}: status ${status}`);
  const samples = parseSamples(parsed.data.data, who);
  return { variables: { samples: { samples } }, shown: { samples: samples.map(sampleText) }, samples, answeredBy };
}

type Data = Extract<z.infer<typeof answer>, { status: 'success' }>['data'];

function parseSamples(data: Data, who: string): Sample[] {
  switch (data.resultType) {
    case 'scalar':
      return [{ labels: {}, value: parseNumber(data.result[1]) }];
    case 'vector':
      // Native histograms are left out, because they have no value.
      return data.result.flatMap(({ metric, value }) =>
        value === undefined ? [] : [{ labels: metric, value: parseNumber(value[1]) }],
      );
    default:
      throw new CheckUnreadable(`${who}: the query returns a ${data.resultType}; a check needs a vector or a scalar`);
  }
}

/** Parses a number as Prometheus writes it: "1", "1e+06", "NaN", "+Inf". */
function parseNumber(text: string): number {
  if (/^[+-]?Inf$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

/** A sample for people: `{store="4"} 1`. */
export function sampleText({ labels, value }: Sample): string {
  const { __name__: name = '', ...others } = labels;
  const pairs = Object.entries(others).map(([label, text]) => `${label}=${JSON.stringify(text)}`);
  return `${name}${pairs.length > 0 || name === '' ? `{${pairs.join(',')}}` : ''} ${value}`;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
