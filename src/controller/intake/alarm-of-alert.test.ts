import { describe, expect, it } from 'vitest';
import { incidentSpec } from '../../api/incident.ts';
import { AlertRefused } from '../../errors.ts';
import { buildIncident } from '../alarm/alarm.ts';
import { buildAlarm } from './alarm-of-alert.ts';
import type { Alert } from './alert.ts';
import { matchesRoute, parseIntakeConfig, type Route } from './route.ts';

const configure = (...routes: object[]) => parseIntakeConfig(JSON.stringify({ routes }), 'routes.json');
const parse = (...routes: object[]): readonly Route[] =>
  configure(...routes.map((one, index) => ({ name: `r${index}`, ...one }))).map((one) => {
    if (one.route === undefined) throw new Error(one.problem);
    return one.route;
  });
const prometheus = { service: 'prometheus', port: 9090 };
const CHECK = { name: 'patient', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } };

const alert = (labels: Record<string, string>, rest: Partial<Alert> = {}): Alert => ({
  kind: 'Alertmanager',
  firing: true,
  fingerprint: 'f',
  labels,
  annotations: {},
  summary: 'it is down',
  startTime: '2026-03-01T12:00:00.000Z',
  ...rest,
});
const refusal = (make: () => unknown) => {
  try {
    make();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was refused');
};

describe('routing', () => {
  const matches = (match: object, labels: Record<string, string>) =>
    parse({ match, namespace: 'tikv', prometheus }).map((route) => matchesRoute(route, alert(labels)))[0];

  it('requires all matchers to match, and takes a missing label as empty', () => {
    const match = { alertname: '/PD_.*/', namespace: 'tikv', team: '' };
    expect(matches(match, { alertname: 'PD_down', namespace: 'tikv' })).toBe(true);
    expect(matches(match, { alertname: 'PD_down', namespace: 'other' })).toBe(false);
    expect(matches(match, { alertname: 'PD_down', namespace: 'tikv', team: 'a' })).toBe(false);
  });

  it('matches expressions against the whole value', () => {
    expect(matches({ team: '/a|b/' }, { team: 'b' })).toBe(true);
    expect(matches({ team: '/a|b/' }, { team: 'ab' })).toBe(false);
  });

  it.each([
    [{ namespace: 'tikv' }, 'prometheus, verify.checks'],
    [{ name: 'a/b', namespace: 'tikv', prometheus }, 'routes[1].name'],
    [{ name: undefined, namespace: 'tikv', prometheus }, 'routes[1].name'],
    [{ name: 'good', namespace: 'tikv', prometheus }, 'routes[1].name'],
    [{ namespace: 'Tikv', prometheus }, 'routes[1].namespace'],
    [{ namespace: '{{ $labels.namespace }}', prometheus }, 'routes[1].namespaces'],
    [{ namespace: 'tikv', targetNamespaces: ['{{ $labels.t }}'], prometheus }, 'routes[1].namespaces'],
    [{ namespace: 'tikv', namespaces: ['other'], prometheus }, 'routes[1].namespaces'],
    [{ namespace: 'tikv', prometheus, match: { a: '/(/' } }, 'routes[1].match.a'],
    [{ namespace: 'tikv', prometheus, typo: 1 }, 'typo'],
    [{ namespace: 'tikv', verify: { checks: [{ name: 'two' }] } }, 'exactly one of'],
    [{ namespace: 'tikv', prometheus, limits: { timeoutSeconds: 30 } }, 'routes[1].verify.soakSeconds'],
    [{ namespace: 'tikv', prometheus, verify: { checks: [{ ...CHECK, name: 'alert' }] } }, 'alert'],
  ])('disables an invalid route, names its field, and serves the others: %j', (route, named) => {
    const [before, invalid, after] = configure(
      { name: 'good', namespace: 'a', prometheus },
      { name: 'r1', ...route },
      { name: 'better', namespace: 'b', prometheus },
    );
    expect([before?.route?.namespace, after?.route?.namespace]).toEqual(['a', 'b']);
    expect(invalid).toMatchObject({ route: undefined, problem: expect.stringContaining(named) });
    expect(invalid?.name).not.toBe('good');
  });
});

describe('the alarm of an alert', () => {
  it('checks the alert in Prometheus, and makes an Incident that matches its schema', () => {
    const [route] = parse({
      name: 'tikv',
      namespace: '{{ $labels.namespace }}',
      namespaces: ['tikv', 'tikv-2'],
      prometheus,
      limits: { maxTurns: 5 },
    });
    if (route === undefined) throw new Error('no route');
    const alarm = buildAlarm(route, alert({ alertname: 'StoreDown', namespace: 'tikv-2' }, { severity: 'critical' }));
    expect(alarm).toMatchObject({ namespace: 'tikv-2', severity: 'critical' });
    const spec = incidentSpec.parse(buildIncident(alarm, 'n').spec);
    expect(spec).toMatchObject({
      summary: 'it is down',
      severity: 'critical',
      agentClassName: 'default',
      suspend: false,
      limits: { maxTurns: 5 },
      source: { kind: 'Alertmanager', name: 'tikv/StoreDown', fingerprint: 'f' },
      alertLabels: { alertname: 'StoreDown', namespace: 'tikv-2' },
    });
    expect(spec.verify.checks).toEqual([
      {
        name: 'alert',
        prometheus: {
          ...prometheus,
          scheme: 'http',
          pathPrefix: '',
          query: 'ALERTS{alertname="StoreDown",namespace=~"(tikv-2)?"}',
          cel: 'size(samples) == 0',
        },
      },
    ]);
  });

  it("prefers the route's severity to the alert's, and adds the route's checks to the one for the alert", () => {
    const [route] = parse({
      namespace: 'n',
      severity: 'info',
      prometheus,
      verify: { soakSeconds: 5, checks: [CHECK] },
    });
    if (route === undefined) throw new Error('no route');
    const alarm = buildAlarm(route, alert({ alertname: 'X' }, { severity: 'critical' }));
    expect(alarm.severity).toBe('info');
    expect(alarm.incident.verify).toMatchObject({ soakSeconds: 5, checks: [{ name: 'alert' }, { name: 'patient' }] });
    expect(buildAlarm(route, alert({})).incident.verify.checks).toMatchObject([{ name: 'patient' }]);
  });

  it.each([
    [{ namespace: '{{ $labels.namespace }}', namespaces: ['*'], prometheus }, { alertname: 'X' }, 'no label namespace'],
    [
      { namespace: '{{ $labels.namespace }}', namespaces: ['*'], prometheus },
      { alertname: 'X', namespace: '../kube-system' },
      'is not a valid namespace name',
    ],
    [
      { namespace: 'n', targetNamespaces: ['t', '{{$labels.t}}'], namespaces: ['*'], prometheus },
      { alertname: 'X' },
      'targetNamespaces[1]',
    ],
    [{ namespace: 'n', prometheus }, {}, 'alertname'],
  ])('is refused when the alert does not have the labels that the route uses: %j %j', (definition, labels, named) => {
    const [route] = parse(definition);
    if (route === undefined) throw new Error('no route');
    const error = refusal(() => buildAlarm(route, alert(labels)));
    expect(error).toBeInstanceOf(AlertRefused);
    expect(String(error)).toContain(named);
  });

  it.each<[string, object, Record<string, string>]>([
    ['namespace', { namespace: '{{ $labels.n }}', namespaces: ['a', 'b'] }, { n: 'kube-system' }],
    [
      'targetNamespaces[0]',
      { namespace: 'a', targetNamespaces: ['{{ $labels.n }}'], namespaces: ['a', 'b'] },
      { n: 'kube-system' },
    ],
  ])('is refused when a label leads to a namespace that the route does not list: %s', (field, definition, labels) => {
    const [route] = parse({ ...definition, prometheus });
    if (route === undefined) throw new Error('no route');
    const error = refusal(() => buildAlarm(route, alert({ alertname: 'X', ...labels })));
    expect(error).toBeInstanceOf(AlertRefused);
    expect(String(error)).toContain(`route r0, ${field}: the labels of the alert lead to kube-system`);
    expect(buildAlarm(route, alert({ alertname: 'X', n: 'b' })).source.name).toBe('r0/X');
  });
});
