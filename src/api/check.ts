// A check: an observation, evaluated with CEL. Incidents use it to verify, Monitors to detect.

import * as z from 'zod';
import { dnsLabel, LABEL, SUBDOMAIN } from './meta.ts';

/** The group is optional. `v1` is the usual form of a version, and any DNS label is valid. */
const API_VERSION = new RegExp(`^(${SUBDOMAIN}/)?${LABEL}$`);
const KIND = /^[A-Za-z][A-Za-z0-9]*$/;
/** Names of RBAC objects may have colons, underscores and capitals. None may have a slash. */
const OBJECT_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$/;
/** The characters of label selectors. Whether it is one is for the API server to say. */
const LABEL_SELECTOR = /^[A-Za-z0-9!][-A-Za-z0-9_./=!<>,() ]*$/;
/** What can stand in the first line of an HTTP request. */
const REQUEST_PATH = /^\/[!-~]*$/;
/** Like REQUEST_PATH, without `?` and `#`, and without a slash at the end. */
const PATH_PREFIX = /^(\/[!"$->@-~]*[!"$-.0->@-~])?$/;

const celExpression = z.string().min(1).max(4096);
const namespace = dnsLabel.optional().meta({ description: 'One of the target namespaces. Default: the first one.' });
const service = dnsLabel.meta({ description: 'Name of the Service. It must select pods.' });
const scheme = z.enum(['http', 'https']).default('http').meta({
  description: 'Scheme of the request. With https, any certificate is accepted: the response grants no trust.',
});

/**
 * GET on a Service in a target namespace. The variables of `cel` are `status` (int) and `body`
 * (parsed JSON, or a string).
 *
 * In the checks of an Incident, CEL also has the variable `baseline`: the same variables
 * (`baseline.body`, `baseline.object`, …) as they were before the first command. It is an empty map
 * if nothing could be read then.
 */
export const httpCheck = z.object({
  service,
  namespace,
  port: z.number().int().min(1).max(65535).meta({ description: 'Port of the Service.' }),
  path: z
    .string()
    .min(1)
    .max(1024)
    .regex(REQUEST_PATH)
    .default('/')
    .meta({ description: 'Path and query of the request.' }),
  scheme,
  cel: celExpression.meta({
    description: 'CEL expression over `status`, `body` and `baseline`. The check passes only if the result is true.',
  }),
});
export type HttpCheck = z.infer<typeof httpCheck>;

/**
 * One object, or a list of objects, in a target namespace. The variable of `cel` is `object` or
 * `objects`. Secrets are rejected.
 */
export const kubernetesCheck = z
  .object({
    apiVersion: z
      .string()
      .min(1)
      .max(128)
      .regex(API_VERSION)
      .meta({ description: 'API version of the objects, for example apps/v1.' }),
    kind: z.string().min(1).max(63).regex(KIND).meta({ description: 'Kind of the objects, for example StatefulSet.' }),
    namespace,
    name: z.string().min(1).max(253).regex(OBJECT_NAME).optional().meta({
      description: 'Name of the object. If not set, the check reads all objects of the kind in the namespace.',
    }),
    labelSelector: z.string().min(1).max(1024).regex(LABEL_SELECTOR).optional().meta({
      description: 'Limits a list to matching objects, for example app.kubernetes.io/name=tikv. Not allowed with name.',
    }),
    cel: celExpression.meta({
      description:
        'CEL expression over `object` (or the list `objects` if name is not set) and `baseline`. The check passes only if the result is true.',
    }),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: "self.kind != 'Secret'", message: 'kind: a check may not read Secrets; choose another kind' },
      {
        rule: '!(has(self.name) && has(self.labelSelector))',
        message: 'labelSelector: not allowed together with name; remove one of the two',
      },
    ],
  });
export type KubernetesCheck = z.infer<typeof kubernetesCheck>;

/**
 * The default CEL of a prometheus check. As in an alerting rule, the query returns what is wrong.
 */
export const NO_SAMPLES = 'size(samples) == 0';

/**
 * An instant query. The variable of `cel` is `samples`, a list of {labels: map of strings, value:
 * double}.
 */
export const prometheusCheck = z.object({
  service,
  namespace,
  port: z.number().int().min(1).max(65535).default(9090).meta({ description: 'Port of the Service.' }),
  pathPrefix: z
    .string()
    .max(256)
    .regex(PATH_PREFIX)
    .default('')
    .meta({ description: 'Path before /api/v1/query, if Prometheus runs with --web.route-prefix.' }),
  scheme,
  query: z.string().min(1).max(4096).meta({ description: 'PromQL query. The result must be a vector or a scalar.' }),
  cel: celExpression.default(NO_SAMPLES).meta({
    description:
      'CEL expression over `samples` and `baseline`. The check passes only if the result is true. By default it passes if the query returns no samples, as with an alerting rule.',
  }),
});
export type PrometheusCheck = z.infer<typeof prometheusCheck>;

/** The types of observation; exactly one of them is set. */
const observations = {
  http: httpCheck.optional().meta({ description: 'Sends a GET request to a Service in a target namespace.' }),
  kubernetes: kubernetesCheck
    .optional()
    .meta({ description: 'Reads one object, or a list of objects, in a target namespace.' }),
  prometheus: prometheusCheck
    .optional()
    .meta({ description: 'Runs an instant query on a Prometheus in a target namespace.' }),
};
const exactlyOne = {
  'x-kubernetes-validations': [
    {
      rule: '[has(self.http), has(self.kubernetes), has(self.prometheus)].filter(x, x).size() == 1',
      message: 'a check must set exactly one of: http, kubernetes, prometheus',
    },
  ],
};

/** A check without a name. */
export const checkTarget = z.object(observations).meta(exactlyOne);
export type CheckTarget = z.infer<typeof checkTarget>;

/** A CEL rule: the check names no namespace, or one of the list. Both parameters are CEL. */
export function namespaceRule(check: string, namespaces: string): string {
  return Object.keys(observations)
    .map((type) => `${check}.${type}`)
    .map((field) => `(!has(${field}) || !has(${field}.namespace) || ${field}.namespace in ${namespaces})`)
    .join(' && ');
}

/**
 * The name of oplab's own result, which reports whether everything that existed before the first
 * command still exists. No check may use this name.
 */
export const BASELINE = 'baseline';

/** One condition of the repair. */
export const check = z
  .object({
    name: dnsLabel.meta({ description: 'Name of the check in status and events. Must be unique among the checks.' }),
    ...observations,
  })
  .meta({
    'x-kubernetes-validations': [
      ...exactlyOne['x-kubernetes-validations'],
      {
        rule: `self.name != '${BASELINE}'`,
        message: `name: ${BASELINE} is reserved for a result of oplab itself; choose another name`,
      },
    ],
  });
export type Check = z.infer<typeof check>;
