// Routes, written by the platform owner: they give alerts a namespace, a class and checks. A route
// that is invalid is disabled, and the others stay in service.

import * as z from 'zod';
import { allowsNamespace } from '../../api/agent-class.ts';
import { type Check, check, prometheusCheck } from '../../api/check.ts';
import { severity } from '../../api/incident.ts';
import { requestedLimits, SOAK_FITS } from '../../api/limits.ts';
import { DNS_LABEL, dnsLabel } from '../../api/meta.ts';
import { errorMessage, InvalidInput } from '../../errors.ts';
import { checkInput, joinProblems, parseInput } from '../../input/parse-input.ts';
import type { Alert } from './alert.ts';
import { labelMatcher } from './label-matcher.ts';

/** The name of the check that asks Prometheus whether the alert still exists. */
export const ALERT_CHECK = 'alert';

/** The value of a label, or a regular expression between slashes that matches the whole value. */
const matcher = z.string().transform((text, context): ((value: string) => boolean) => {
  try {
    return labelMatcher(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: errorMessage(error) });
    return z.NEVER;
  }
});

/** May contain a label of the alert: {{ $labels.namespace }}. */
const namespaceTemplate = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => hasField(text) || DNS_LABEL.test(text), { error: 'not a valid namespace name' });

const hasField = (template: string): boolean => template.includes('{{');

const soleCheck = check.refine(
  (one: Check) => [one.http, one.kubernetes, one.prometheus].filter((target) => target !== undefined).length === 1,
  { error: 'a check must set exactly one of: http, kubernetes, prometheus' },
);

const route = z
  .strictObject({
    /** Part of the URL that senders use, and the name of the file with their token. */
    name: dnsLabel,
    match: z.record(z.string().min(1), matcher).default({}),
    namespace: namespaceTemplate,
    targetNamespaces: z.array(namespaceTemplate).min(1).max(8).optional(),
    /** The namespaces to which labels of an alert may lead; `*` allows all. */
    namespaces: z
      .array(z.union([z.literal('*'), dnsLabel]))
      .min(1)
      .optional(),
    agentClassName: z.string().min(1).max(253).default('default'),
    severity: severity.optional(),
    /** The Prometheus that raised the alert; adds a check that the alert no longer exists. */
    prometheus: prometheusCheck.omit({ query: true, cel: true }).strict().optional(),
    verify: z
      .strictObject({
        soakSeconds: z.number().int().min(0).max(3600).default(30),
        checks: z.array(soleCheck).max(15).default([]),
      })
      .prefault({}),
    limits: requestedLimits.strict().optional(),
    suspend: z.boolean().default(false),
  })
  .refine(({ prometheus, verify }) => prometheus !== undefined || verify.checks.length > 0, {
    error: 'set prometheus, verify.checks or both: an Incident needs a check that can confirm its repair',
  })
  .refine(({ verify, limits }) => verify.soakSeconds < (limits?.timeoutSeconds ?? Number.POSITIVE_INFINITY), {
    path: ['verify', 'soakSeconds'],
    error: SOAK_FITS.message,
  })
  .refine(({ verify }) => verify.checks.every(({ name }) => name !== ALERT_CHECK), {
    path: ['verify', 'checks'],
    error: `the name ${ALERT_CHECK} is reserved for the check that asks Prometheus for the alert`,
  })
  .refine(
    ({ namespace, targetNamespaces = [], namespaces }) =>
      namespaces !== undefined || ![namespace, ...targetNamespaces].some(hasField),
    {
      path: ['namespaces'],
      error: 'list the namespaces to which labels of an alert may lead, because its sender chooses the labels',
    },
  )
  .refine(
    ({ namespace, targetNamespaces = [], namespaces = ['*'] }) =>
      [namespace, ...targetNamespaces].every((name) => hasField(name) || allowsNamespace(namespaces, name)),
    {
      path: ['namespaces'],
      error: "must contain the route's namespace and targetNamespaces",
    },
  );
export type Route = z.infer<typeof route>;

/** A route of the configuration: one to serve, or one that is disabled because of a problem. */
export type ConfiguredRoute =
  | { readonly name: string; readonly route: Route }
  | { readonly name: string; readonly route: undefined; readonly problem: string };

const intakeConfig = z.strictObject({ routes: z.array(z.unknown()).min(1) });

/**
 * Parses the configuration that the chart gives to the intake. Each route is parsed for itself. One
 * without a valid name of its own is called by its position, which no sender can address.
 * @throws InvalidInput when the file is no list of routes
 */
export function parseIntakeConfig(text: string, where: string): ConfiguredRoute[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`${where} is not JSON`, error);
  }
  const names = new Set<string>();
  return parseInput(intakeConfig, content, where, { values: 'shown' }).routes.map((one, index) => {
    const position = `routes[${index}]`;
    const named = z.object({ name: dnsLabel }).safeParse(one).data?.name;
    if (named !== undefined && names.has(named)) {
      const problem = `${where}: ${position}.name: ${named} is the name of another route as well; choose a different name`;
      return { name: position, route: undefined, problem };
    }
    if (named !== undefined) names.add(named);
    const checked = checkInput(route, one, { values: 'shown', at: ['routes', index] });
    return checked.success
      ? { name: checked.data.name, route: checked.data }
      : { name: named ?? position, route: undefined, problem: joinProblems(where, checked.problems) };
  });
}

/** Whether all matchers of the route match. A missing label counts as empty. */
export function matchesRoute({ match }: Route, alert: Pick<Alert, 'labels'>): boolean {
  return Object.entries(match).every(([name, matches]) => matches(alert.labels[name] ?? ''));
}
