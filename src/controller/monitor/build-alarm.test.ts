// The Incident of an alarm: its texts, and the Monitor's own check, limited to the alarm's labels.

import { afterAll, describe, expect, it } from 'vitest';
import { iso, monitor } from '../../../test/support/monitor-fixtures.ts';
import { incident as incidentSchema } from '../../api/incident.ts';
import type { MonitorAlarm } from '../../api/monitor.ts';
import { Cel } from '../../checks/cel.ts';
import { buildIncident } from '../alarm/alarm.ts';
import { buildAlarm, MONITOR_CHECK } from './build-alarm.ts';
import { computeFingerprint } from './probe.ts';

const alarm = (labels?: Record<string, string>): MonitorAlarm => ({
  fingerprint: 'f',
  ...(labels === undefined ? {} : { labels }),
  value: '3',
  state: 'Firing',
  since: iso(5),
  startTime: iso(5),
  lastSeen: iso(5),
  occurrences: 1,
  flaps: 0,
});
const found = {
  failing: { fingerprint: 'f', group: {}, labels: { store: '4', address: 'tikv-0:20160' }, value: '3' },
  observed: 'samples = […]',
};
const seen = { count: 1, lastTime: iso(5) };
const check = { name: 'replicas', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } };

describe('the alarm of a Monitor', () => {
  it('fills in the texts of the template', () => {
    const definition = monitor({
      severity: 'critical',
      labels: { team: 'storage' },
      incident: {
        summary: 'store {{ $labels.store }} ({{$labels.address}}{{ $labels.nothing }}): {{ $value }}, {{ $monitor }}',
        description: '{{ $observed }} {{ unknown }}',
        verify: { soakSeconds: 5, checks: [check] },
        targetNamespaces: ['tikv', 'other'],
      },
    });
    const made = buildAlarm(definition, alarm(), found, seen);
    const incident = incidentSchema.parse({ apiVersion: 'v', kind: 'Incident', ...buildIncident(made, 'n') });
    expect(incident.spec).toMatchObject({
      summary: 'store 4 (tikv-0:20160): 3, store-down',
      description: 'samples = […] {{ unknown }}',
      severity: 'critical',
      agentClassName: 'default',
      targetNamespaces: ['tikv', 'other'],
      alertLabels: { store: '4', team: 'storage' },
      source: { kind: 'Monitor', name: 'store-down', fingerprint: 'f', startTime: iso(5) },
    });
    expect(incident.spec.verify.checks.map(({ name }) => name)).toEqual([MONITOR_CHECK, 'replicas']);
    expect(incident.spec.verify.checks[0]?.prometheus?.cel).toBe('size(samples) == 0');
  });

  it('cuts a label of the sample to the maximum length of a summary', () => {
    const definition = monitor({ incident: { summary: '{{ $labels.long }}' } });
    const long = { ...found, failing: { ...found.failing, labels: { long: 'x'.repeat(5000) } } };
    const made = buildAlarm(definition, alarm(), long, seen);
    expect(made.incident.summary.length).toBe(512);
    expect(made.labels.long?.length).toBe(4096);
  });
});

describe('the own check of an alarm with labels', () => {
  const cel = new Cel();
  afterAll(() => cel.close());
  const hostile = 'a"b\\c\n\'  \u2028 é';
  it.each<[string, Record<string, string>, Record<string, string>[], boolean]>([
    ['fails while its own labels are among the samples', { store: '4' }, [{ store: '5' }, { store: '4' }], false],
    ['holds when only others fail', { store: '4' }, [{ store: '5' }, { job: 'pd' }], true],
    ['holds when nothing fails', { store: '4' }, [], true],
    ['treats an absent label as empty', { store: '' }, [{ job: 'pd' }], false],
    ['compares all labels', { a: '1', b: '2' }, [{ a: '1', b: '3' }], true],
    ['quotes special characters in a label', { store: hostile }, [{ store: hostile }], false],
  ])('%s', async (_what, labels, samples, holds) => {
    const definition = monitor({ groupBy: Object.keys(labels) });
    const [own] = buildAlarm(definition, alarm(labels), found, seen).incident.verify.checks;
    const result = await cel.evaluate(own?.prometheus?.cel ?? '', {
      samples: { samples: samples.map((one) => ({ labels: one, value: 1 })) },
    });
    expect(result).toMatchObject({ type: holds ? 'passed' : 'failed' });
  });
});

it('the fingerprint differs by Monitor and labels, and is the same for a Monitor that is created again', () => {
  const one = computeFingerprint(monitor(), { store: '4' });
  expect(one).toMatch(/^[0-9a-f]{32}$/);
  expect(computeFingerprint(monitor({}, { metadata: { uid: 'another' } }), { store: '4' })).toBe(one);
  expect(computeFingerprint(monitor(), { store: '5' })).not.toBe(one);
  expect(computeFingerprint(monitor({}, { metadata: { namespace: 'x' } }), { store: '4' })).not.toBe(one);
  expect(computeFingerprint(monitor({}, { metadata: { name: 'x' } }), { store: '4' })).not.toBe(one);
});
