// Routes, written by the platform owner: they give alerts a namespace, a class and checks.

import { z } from 'zod';
import { type Check, check, prometheusCheck } from '../../api/check.ts';
import { severity } from '../../api/incident.ts';
import { requestedLimits, SOAK_FITS } from '../../api/limits.ts';
import { dnsLabel } from '../../api/meta.ts';
import { InvalidInput } from '../../errors.ts';
import { parseInput } from '../../input/parse-input.ts';
import type { Alert } from './alert.ts';

/** The name of the check that asks Prometheus whether the alert still exists. */
export const ALERT_CHECK = 'alert';

/** The value of a label, or a regular expression between slashes that matches the whole value. */
const matcher = z.string().transform((text, context): ((value: string) => boolean) => {
  const expression = /^\/(.*)\/$/s.exec(text)?.[1];
  if (expression === undefined) return (value) => value === text;
  try {
    const compiled = new RegExp(`^(?:${expression})$`, 'u');
    return (value) => compiled.test(value);
  } catch (error) {
    context.addIssue({
      code: 'custom',
      message: `not a valid regular expression: ${error instanceof Error ? error.message : ''}`,
    });
    return z.NEVER;
  }
});

/** May contain a label of the alert: {{ $labels.namespace }}. */
const namespaceTemplate = z.string().min(1).max(256);

const soleCheck = check.refine(
  (one: Check) => [one.http, one.kubernetes, one.prometheus].filter((target) => target !== undefined).length === 1,
  { error: 'a check must set exactly one of: http, kubernetes, prometheus' },
);

const route = z
  .strictObject({
    name: dnsLabel.optional(),
    match: z.record(z.string().min(1), matcher).default({}),
    namespace: namespaceTemplate,
    targetNamespaces: z.array(namespaceTemplate).min(1).max(8).optional(),
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
  });

/** The configuration that the chart gives to the intake. */
export const intakeConfig = z.strictObject({
  routes: z
    .array(route)
    .min(1)
    .transform((routes) => routes.map((one, index) => ({ ...one, name: one.name ?? `route-${index + 1}` }))),
});
export type IntakeConfig = z.infer<typeof intakeConfig>;
export type Route = IntakeConfig['routes'][number];

/** @throws InvalidInput that names the field */
export function parseIntakeConfig(text: string, where: string): IntakeConfig {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`${where} is not JSON`, error);
  }
  return parseInput(intakeConfig, content, where, { values: 'shown' });
}

/** The first route whose matchers all match. A missing label counts as empty. */
export function findRoute(routes: readonly Route[], alert: Pick<Alert, 'labels'>): Route | undefined {
  return routes.find(({ match }) =>
    Object.entries(match).every(([name, matches]) => matches(alert.labels[name] ?? '')),
  );
}
