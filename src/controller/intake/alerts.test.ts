import { describe, expect, it } from 'vitest';
import { parseInput } from '../../input/parse-input.ts';
import { alertmanagerPayload, alertsFromAlertmanager } from './alertmanager.ts';
import { alertsFromWebhook, webhookPayload } from './webhook.ts';

const NOW = new Date('2026-03-01T12:00:00Z');

function delivery(alert: object, group: object = {}): object {
  return {
    version: '4',
    groupKey: '{}:{alertname="StoreDown"}',
    truncatedAlerts: 0,
    status: 'firing',
    receiver: 'oplab',
    alerts: [
      {
        status: 'firing',
        labels: { alertname: 'StoreDown', namespace: 'tikv', severity: 'critical' },
        annotations: { summary: 'a store is down', description: 'since a while' },
        startsAt: '2026-03-01T12:52:26.739266876+02:00',
        endsAt: '0001-01-01T00:00:00Z',
        generatorURL: 'http://prometheus:9090/graph',
        fingerprint: '1a30ba71cca2921f',
        ...alert,
      },
    ],
    ...group,
  };
}
const parsed = (alert: object) => alertsFromAlertmanager(alertmanagerPayload.parse(delivery(alert)))[0];
const webhook = (content: unknown) => alertsFromWebhook(webhookPayload.parse(content), NOW);

describe('an alert of Alertmanager', () => {
  it('keeps its content, with times in UTC', () => {
    expect(parsed({})).toEqual({
      kind: 'Alertmanager',
      firing: true,
      fingerprint: '1a30ba71cca2921f',
      labels: { alertname: 'StoreDown', namespace: 'tikv', severity: 'critical' },
      annotations: { summary: 'a store is down', description: 'since a while' },
      summary: 'a store is down',
      description: 'since a while\nRaised by: http://prometheus:9090/graph',
      severity: 'critical',
      startTime: '2026-03-01T10:52:26.739Z',
    });
  });

  it('has an end only when it is resolved', () => {
    expect(parsed({})?.endTime).toBeUndefined();
    const over = parsed({ status: 'resolved', endsAt: '2026-03-01T11:00:00Z' });
    expect(over).toMatchObject({ firing: false, endTime: '2026-03-01T11:00:00.000Z' });
  });

  it('is summarized by its labels when it has no summary', () => {
    expect(parsed({ annotations: {}, labels: { alertname: 'X', pod: 'a"b' } })?.summary).toBe('X{pod="a\\"b"}');
  });

  it('gets a fingerprint that does not depend on the order of its labels', () => {
    const one = parsed({ fingerprint: undefined, labels: { a: '1', b: '2' } });
    const other = parsed({ fingerprint: undefined, labels: { b: '2', a: '1' } });
    expect(one?.fingerprint).toBe(other?.fingerprint);
    expect(one?.fingerprint).not.toBe(parsed({ fingerprint: undefined, labels: { a: '1', b: '3' } })?.fingerprint);
  });

  it('is cut to what an Incident allows', () => {
    const labels = Object.fromEntries(Array.from({ length: 90 }, (_, index) => [`l${index}`, 'x'.repeat(5000)]));
    const alert = parsed({
      labels,
      annotations: { summary: `a\nb ${'y'.repeat(600)}`, description: 'z'.repeat(20_000) },
    });
    expect(Object.keys(alert?.labels ?? {})).toHaveLength(64);
    expect(alert?.labels.l0).toHaveLength(4096);
    expect(alert?.summary).toHaveLength(512);
    expect(alert?.summary.startsWith('a b y')).toBe(true);
    expect(alert?.description).toHaveLength(16384);
  });

  it('that does not fit is refused by the name of the field', () => {
    const issue = alertmanagerPayload.safeParse(delivery({ startsAt: 'yesterday' })).error?.issues[0];
    expect(issue?.path).toEqual(['alerts', 0, 'startsAt']);
    expect(alertmanagerPayload.safeParse(delivery({}, { version: '3' })).error?.issues[0]?.path).toEqual(['version']);
  });
});

describe('an alert of the generic webhook', () => {
  it('needs no more than a summary', () => {
    expect(webhook({ summary: 'disk is full' })[0]).toMatchObject({
      kind: 'Webhook',
      firing: true,
      summary: 'disk is full',
      startTime: NOW.toISOString(),
    });
  });

  it('may be in a list, and needs only a fingerprint to be resolved', () => {
    const [first, second] = webhook([{ summary: 'a' }, { status: 'resolved', fingerprint: 'f' }]);
    expect(first?.firing).toBe(true);
    expect(second).toMatchObject({ firing: false, fingerprint: 'f', endTime: NOW.toISOString() });
  });

  it('is identified by its fingerprint, else its labels, else its summary', () => {
    const [a, b, c, d] = webhook([
      { summary: 'a', labels: { host: '1' } },
      { summary: 'b', labels: { host: '1' } },
      { summary: 'a' },
      { summary: 'b' },
    ]);
    expect(a?.fingerprint).toBe(b?.fingerprint);
    expect(c?.fingerprint).not.toBe(d?.fingerprint);
  });

  it.each([
    [{ status: 'firing' }, ['summary']],
    [{ summary: 'a', severity: 'dire' }, ['severity']],
    [{ summary: 'a', startAt: '2026-03-01T11:00:00Z' }, []],
    [{ summary: 'a', startsAt: '12:00' }, ['startsAt']],
  ])('that does not fit is refused by the name of the field: %j', (content, path) => {
    expect(webhookPayload.safeParse(content).error?.issues[0]?.path).toEqual([0, ...path]);
  });
});

describe('a delivery of more alerts than can be handled', () => {
  it.each([
    ['Alertmanager', alertmanagerPayload, (alerts: unknown[]): unknown => ({ version: '4', alerts })],
    ['the webhook', webhookPayload, (alerts: unknown[]): unknown => alerts],
  ] as const)('is refused by its number, without a look at each: %s', (_what, schema, build) => {
    const alerts = (count: number) => Array.from({ length: count }, () => 1);
    expect(() => parseInput<unknown>(schema, build(alerts(1_000_000)), 'body', { values: 'hidden' })).toThrow(
      /^body: (alerts: )?has 1000000 alerts; send at most 5000 at once$/,
    );
    expect(() => parseInput<unknown>(schema, build(alerts(2)), 'body', { values: 'hidden' })).toThrow(
      /\[1\]: must be an object, not a number$/,
    );
  });
});
