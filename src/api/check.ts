// A check: one look at the patient, judged by CEL. Incidents hold the repair against checks, Monitors watch by them.

import { z } from 'zod';
import { dnsLabel } from './meta.ts';

const celExpression = z.string().min(1).max(4096);
const namespace = dnsLabel
  .optional()
  .meta({ description: "A target namespace; default: the first one of the Incident, or the Monitor's own." });
const service = dnsLabel.meta({ description: 'Name of the Service; it must select pods.' });
const scheme = z
  .enum(['http', 'https'])
  .default('http')
  .meta({ description: 'With https any certificate is taken: the answer is judged, not trusted.' });

/**
 * GET on a Service of a target namespace; `cel` sees `status` (int) and `body` (parsed JSON, or a string).
 *
 * The CEL of every check of an Incident also sees `baseline`: the same variables (`baseline.body`, `baseline.object`, …) as they
 * were before the first command; an empty map when nothing could be read then.
 */
export const httpCheck = z.object({
  service,
  namespace,
  port: z.number().int().min(1).max(65535).meta({ description: 'Port of the Service.' }),
  path: z.string().min(1).max(1024).regex(/^\//).default('/').meta({ description: 'Path and query of the GET.' }),
  scheme,
  cel: celExpression.meta({ description: 'CEL over `status`, `body` and `baseline`; only the boolean true passes.' }),
});
export type HttpCheck = z.infer<typeof httpCheck>;

/** One object, or a list of objects, of a target namespace; `cel` sees `object` or `objects`. Secrets are refused. */
export const kubernetesCheck = z
  .object({
    apiVersion: z.string().min(1).max(128).meta({ description: 'For example apps/v1.' }),
    kind: z.string().min(1).max(63).meta({ description: 'For example StatefulSet.' }),
    namespace,
    name: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .meta({ description: 'Name of the object; without it, all objects of the kind in the namespace.' }),
    labelSelector: z
      .string()
      .min(1)
      .max(1024)
      .optional()
      .meta({ description: 'Of a list: which objects, for example app.kubernetes.io/name=tikv.' }),
    cel: celExpression.meta({
      description:
        'CEL over `object`, or the list `objects` when there is no name, and `baseline`; only the boolean true passes.',
    }),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: "self.kind != 'Secret'", message: 'kind: a check may not read Secrets; name another object' },
      {
        rule: '!(has(self.name) && has(self.labelSelector))',
        message: 'labelSelector: it chooses among the objects of a list; leave it out, or leave out the name',
      },
    ],
  });
export type KubernetesCheck = z.infer<typeof kubernetesCheck>;

/** The CEL of a prometheus check that gives none: like an alerting rule, the query returns what is wrong. */
export const NO_SAMPLES = 'size(samples) == 0';

/** An instant query; `cel` sees `samples`, a list of {labels: map of strings, value: double}. */
export const prometheusCheck = z.object({
  service,
  namespace,
  port: z.number().int().min(1).max(65535).default(9090).meta({ description: 'Port of the Service.' }),
  pathPrefix: z
    .string()
    .max(256)
    .regex(/^(\/[^?#]*[^/?#])?$/)
    .default('')
    .meta({ description: "What stands before /api/v1/query, when Prometheus' --web.route-prefix is set." }),
  scheme,
  query: z.string().min(1).max(4096).meta({ description: 'PromQL; the answer must be a vector or a scalar.' }),
  cel: celExpression.default(NO_SAMPLES).meta({
    description:
      'CEL over `samples` and `baseline`; only the boolean true passes. Default: nothing may match, as in an alerting rule.',
  }),
});
export type PrometheusCheck = z.infer<typeof prometheusCheck>;

/** The kinds of look; exactly one of them is set. */
const looks = {
  http: httpCheck.optional().meta({ description: 'GET on a Service of a target namespace.' }),
  kubernetes: kubernetesCheck.optional().meta({ description: 'One object, or a list, of a target namespace.' }),
  prometheus: prometheusCheck.optional().meta({ description: 'Instant query to a Prometheus in a target namespace.' }),
};
const exactlyOne = {
  'x-kubernetes-validations': [
    {
      rule: '[has(self.http), has(self.kubernetes), has(self.prometheus)].filter(x, x).size() == 1',
      message: 'a check has exactly one of: http, kubernetes, prometheus',
    },
  ],
};

/** What is looked at, without a name. */
export const checkTarget = z.object(looks).meta(exactlyOne);
export type CheckTarget = z.infer<typeof checkTarget>;

/** CEL: the check names no namespace, or one of the list. */
export function looksInto(check: string, namespaces: string): string {
  return Object.keys(looks)
    .map((look) => `${check}.${look}`)
    .map((look) => `(!has(${look}) || !has(${look}.namespace) || ${look}.namespace in ${namespaces})`)
    .join(' && ');
}

/** Names the result that says whether what stood before the first command still stands; no check may have it. */
export const BASELINE = 'baseline';

/** One condition of the repair. */
export const check = z
  .object({
    name: dnsLabel.meta({ description: 'Unique among the checks; it names the check in status and events.' }),
    ...looks,
  })
  .meta({
    'x-kubernetes-validations': [
      ...exactlyOne['x-kubernetes-validations'],
      {
        rule: `self.name != '${BASELINE}'`,
        message: `name: ${BASELINE} is the name of oplab's own result; give the check another one`,
      },
    ],
  });
export type Check = z.infer<typeof check>;
