// Half a minute of the campaign of test/flood: agents that flood the log are noticed by nobody else.

import { availableParallelism } from 'node:os';
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
  // Two processes for each processor are the campaign itself. More is a machine with other work.
  expect(report.acks.max).toBeLessThan(1000 * Math.max(1, report.load / (2 * availableParallelism())));
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
