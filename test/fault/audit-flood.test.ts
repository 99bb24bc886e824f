// Half a minute of the campaign of test/flood: agents that flood the log are noticed by nobody else.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { type FloodReport, runFlood } from '../flood/campaign.ts';

let report: FloodReport;
beforeAll(async () => {
  report = await runFlood(30_000);
}, 180_000);
afterAll(() => {
  console.log(JSON.stringify(report));
});

it('acknowledges the entries of another Incident within a second', () => {
  expect(report.acks.count).toBeGreaterThan(20);
  expect(report.acks.max).toBeLessThan(1000);
});

it('closes no door to another Incident', () => {
  expect(report.refused).toEqual([]);
  expect(report.closed).toEqual([]);
});

it('ends the Incidents that flood the log, each at its limit', () => {
  expect(report.limits).toEqual(['record', 'record', 'record']);
  expect(report.attack.audit?.['429']).toBeGreaterThan(0);
  expect(report.usedMiB).toBeLessThan(48);
});

it('leaves a log that verifies', () => {
  expect(report.sound).toBe(true);
});
