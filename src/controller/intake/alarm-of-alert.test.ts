import { describe, expect, it } from 'vitest';
import { incidentSpec } from '../../api/incident.ts';
import { AlertRefused, InvalidInput } from '../../errors.ts';
import { buildIncident } from '../alarm/alarm.ts';
import { buildAlarm } from './alarm-of-alert.ts';
import type { Alert } from './alert.ts';
import { findRoute, parseIntakeConfig, type Route } from './route.ts';

const parse = (...routes: object[]): readonly Route[] =>
  parseIntakeConfig(JSON.stringify({ routes }), 'routes.json').routes;
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
  const routes = parse(
    { name: 'pd', match: { alertname: '/PD_.*/', namespace: 'tikv' }, namespace: 'tikv', prometheus },
    { name: 'no-team', match: { team: '' }, namespace: 'tikv', prometheus },
    { match: { team: '/a|b/' }, namespace: '{{ $labels.namespace }}', prometheus },
  );
  const routed = (labels: Record<string, string>) => findRoute(routes, alert(labels))?.name;

  it('takes the first route whose matchers all match', () => {
    expect(routed({ alertname: 'PD_down', namespace: 'tikv' })).toBe('pd');
    expect(routed({ alertname: 'PD_down', namespace: 'other' })).toBe('no-team');
    expect(routed({ team: 'b' })).toBe('route-3');
  });

  it('matches expressions against the whole value', () => {
    expect(routed({ team: 'ab' })).toBeUndefined();
    expect(routed({ alertname: 'xPD_down', namespace: 'tikv', team: 'c' })).toBeUndefined();
  });

  it.each([
    [{ namespace: 'tikv' }, 'prometheus, verify.checks'],
    [{ namespace: 'tikv', prometheus, match: { a: '/(/' } }, 'routes[0].match.a'],
    [{ namespace: 'tikv', prometheus, typo: 1 }, 'typo'],
    [{ namespace: 'tikv', verify: { checks: [{ name: 'two' }] } }, 'exactly one of'],
    [{ namespace: 'tikv', prometheus, limits: { timeoutSeconds: 30 } }, 'routes[0].verify.soakSeconds'],
    [{ namespace: 'tikv', prometheus, verify: { checks: [{ ...CHECK, name: 'alert' }] } }, 'alert'],
  ])('refuses an invalid route and names its field: %j', (route, named) => {
    const error = refusal(() => parse(route));
    expect(error).toBeInstanceOf(InvalidInput);
    expect(String(error)).toContain(named);
  });
});

describe('the alarm of an alert', () => {
  it('checks the alert in Prometheus, and makes an Incident that matches its schema', () => {
    const [route] = parse({ name: 'tikv', namespace: '{{ $labels.namespace }}', prometheus, limits: { maxTurns: 5 } });
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
    [{ namespace: '{{ $labels.namespace }}', prometheus }, { alertname: 'X' }, 'no label namespace'],
    [
      { namespace: '{{ $labels.namespace }}', prometheus },
      { alertname: 'X', namespace: '../kube-system' },
      'is not a valid namespace name',
    ],
    [
      { namespace: 'n', targetNamespaces: ['t', '{{$labels.t}}'], prometheus },
      { alertname: 'X' },
      'targetNamespaces[1]',
    ],
    [{ namespace: 'n', prometheus }, {}, 'alertname'],
  ])('is refused when the alert lacks a label that the route uses: %j %j', (definition, labels, named) => {
    const [route] = parse(definition);
    if (route === undefined) throw new Error('no route');
    const error = refusal(() => buildAlarm(route, alert(labels)));
    expect(error).toBeInstanceOf(AlertRefused);
    expect(String(error)).toContain(named);
  });
});
