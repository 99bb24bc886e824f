// Half a minute of the campaign of test/flood: agents that flood the log close no door to others.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { type FloodReport, runFlood } from '../flood/campaign.ts';

let report: FloodReport;
beforeAll(async () => {
  report = await runFlood(30_000);
}, 180_000);
afterAll(() => {
  console.log(JSON.stringify(report));
});

// The median, because the machine of the tests runs other tests as well: `npm run test:flood` on a quiet
// machine holds the slowest acknowledgement to a second.
it('acknowledges the entries of another Incident as a rule within a second', () => {
  expect(report.acks.count).toBeGreaterThan(10);
  expect(report.acks.p50).toBeLessThan(1000);
});

it('closes no door to another Incident', () => {
  expect(report.refused).toEqual([]);
  expect(report.closed).toEqual([]);
});

it('keeps most of the volume free', () => {
  expect(report.attack.audit?.['200']).toBeGreaterThan(0);
  expect(report.usedMiB).toBeLessThan(48);
  expect(report.limits.filter((limit) => limit !== undefined && limit !== 'record')).toEqual([]);
});

it('leaves a log that verifies', () => {
  expect(report.sound).toBe(true);
});
