// One entry of the trail, as people read it.

import pc from 'picocolors';
import { expect, it } from 'vitest';
import type { Entry } from '../../audit/entry.ts';

import { renderEntry } from './entry.ts';

const entry = (kind: Entry['kind'], params: object, more: Partial<Entry> = {}): Entry => ({
  ...{ session: 's', seq: 7, time: '2026-01-01T10:00:00.000Z', attempt: 1, writer: 'gateway', clientKey: 'k', kind },
  ...{ tool: 'kube', params: { ...params }, exitCode: null, durationMs: null, content: 'patch pods x' },
  ...{ blobDigest: null, prevHash: '', hash: '' },
  ...more,
});
const first = (of: Entry) => renderEntry(of, { colors: pc.createColors(false), width: 100 })[0];

it('names the command of a write, or says that there is none', () => {
  expect(first(entry('kube_intent', { commandSeq: 5 }))).toMatch(/kube_intent \(command 5\)$/);
  expect(first(entry('docker_intent', { unexplained: true }))).toMatch(/docker_intent \(unexplained\)$/);
  // As older gateways wrote it.
  expect(first(entry('kube_intent', {}))).toMatch(/kube_intent$/);
});

it('names what a command left behind, without what a terminal would execute', () => {
  const params = {
    killedProcesses: 1,
    leftBehind: ['process "sleep 1\u001b[2J" (killed)', 'listener on tcp 0.0.0.0:1 (closed)'],
  };
  expect(first(entry('tool_result', params, { tool: 'shell', exitCode: 0 }))).toContain(
    '(exit 0, left behind: process "sleep 1" (killed); listener on tcp 0.0.0.0:1 (closed))',
  );
  expect(first(entry('tool_result', { signal: '\u001b]0;owned\u0007' }))).toContain('(␛]0;owned)');
  expect(first(entry('tool_result', { killedProcesses: 2 }, { exitCode: 0 }))).toContain('2 leftover processes killed');
});
