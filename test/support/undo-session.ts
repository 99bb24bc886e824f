// A session export and objects in memory, for tests of the commands that read and undo changes.

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import type { AuditStatus } from '../../src/api/incident-status.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { buildExport, parseExport } from '../../src/audit/export.ts';
import { entryHash, genesisHash, sha256 } from '../../src/audit/hash-chain.ts';
import type { JsonMap } from '../../src/audit/object-view.ts';
import type { Present, Step } from '../../src/cli/changes/undo-plan.ts';
import { KubeError } from '../../src/kube/errors.ts';
import { anIncident } from './an-incident.ts';
import { commandLine, fakeEnvironment, outputTo } from './fake-environment.ts';

export const SESSION = '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11';
export const target = { group: '', version: 'v1', resource: 'configmaps', namespace: 'tikv', name: 'config' };
export const object = (text: string, resourceVersion: string): JsonMap => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', data: { 'config.toml': text, other: 'same' } },
  metadata: { name: 'config', namespace: 'tikv', uid: 'u1', resourceVersion },
});

export type Given = Pick<Entry, 'kind'> & Partial<Pick<Entry, 'params' | 'content'>> & { readonly blob?: string };

/** A sealed session with these entries, as a file. */
export function exported(given: readonly Given[]): string {
  const blobs = new Map<string, string>();
  const entries: Entry[] = [];
  const all: readonly Given[] = [
    { kind: 'lifecycle', params: { event: 'opened', incident: { namespace: 'tikv', name: 'down' } } },
    ...given,
    { kind: 'lifecycle', params: { event: 'sealed', outcome: 'Resolved' } },
  ];
  for (const { kind, params = null, content = '', blob } of all) {
    const seq = entries.length + 1;
    const blobDigest = blob === undefined ? null : sha256(blob);
    if (blob !== undefined && blobDigest !== null) blobs.set(blobDigest, blob);
    const fields = {
      ...{ session: SESSION, seq, time: '2026-01-01T00:00:00.000Z', attempt: 1, writer: 'gateway' as const },
      ...{ clientKey: `k${seq}`, kind, tool: 'kube', params, exitCode: null, durationMs: null, content, blobDigest },
      prevHash: entries.at(-1)?.hash ?? genesisHash(SESSION),
    };
    entries.push({ ...fields, hash: entryHash(fields) });
  }
  const last = entries.at(-1);
  const summary = {
    ...{ session: SESSION, incident: { namespace: 'tikv', name: 'down', uid: SESSION }, summary: 'down' },
    ...{ openedAt: '2026-01-01T00:00:00.000Z', lastAt: '2026-01-01T00:00:00.000Z', entries: entries.length },
    ...{ headHash: last?.hash ?? '', sealed: true, outcome: 'Resolved' },
  };
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'oplab-undo-')), 'session.json');
  const when = new Date('2026-01-01T00:10:00Z');
  writeFileSync(
    file,
    JSON.stringify(
      buildExport({
        summary,
        entries,
        blobs,
        incident: undefined,
        source: 'test',
        exportedAt: when,
        exportedBy: 'test',
      }),
    ),
  );
  return file;
}

/** The entries of one patch: seq 2, 3 and 4 in the first call. */
export const patch = (intentSeq: number, before: JsonMap, after: JsonMap, more: object = {}): Given[] => [
  { kind: 'kube_intent', params: { ...target, verb: 'patch' }, content: 'patch configmaps tikv/config' },
  { kind: 'kube_before', params: { intentSeq, state: 'present' }, blob: JSON.stringify(before) },
  { kind: 'kube_outcome', params: { intentSeq, status: 200, ...more }, blob: JSON.stringify(after) },
];
export const exec: Given = {
  kind: 'kube_intent',
  params: { ...target, resource: 'pods', verb: 'connect', subresource: 'exec' },
  content: 'exec pods tikv/config: rm -rf \u001b[31m/data',
};

/** The command line, with one object in its cluster. */
export function cluster(present: Present, isConfirmed = true) {
  const lines: string[] = [];
  const notes: string[] = [];
  const questions: string[] = [];
  let other: string | undefined;
  let audit: AuditStatus | undefined;
  let isForged = false;
  const steps: Step[] = [];
  const annotations: string[] = [];
  let annotate = async (value: string) => void annotations.push(value);
  const incident = anIncident({ metadata: { name: 'down', namespace: 'tikv', uid: SESSION } });
  const environment = fakeEnvironment({
    output: outputTo(
      (text) => lines.push(text),
      (text) => notes.push(text),
    ),
    confirm: async (question) => {
      questions.push(question);
      return isConfirmed;
    },
    incidents: () => ({
      get: async () => ({
        incident: audit === undefined ? incident : { ...incident, status: { audit } },
        raw: { metadata: { annotations: { 'oplab.dev/undo': annotations.at(-1) ?? '[]' } } },
      }),
      list: async () => [],
      create: () => Promise.reject(new Error('not here')),
    }),
    objects: () => ({
      read: async () => present,
      take: async (_target, step) => {
        // The record is there before the first step.
        expect(annotations).toHaveLength(1);
        steps.push(step);
        const [begun] = JSON.parse(annotations.at(-1) ?? '');
        if (other !== undefined) annotations.push(JSON.stringify([begun, { ...begun, by: other }]));
      },
      whoAmI: async () => 'alice',
      annotateIncident: async (_incident, _annotation, value) => {
        await annotate(value);
        return {};
      },
    }),
  });
  const run = commandLine(environment);
  return {
    run: async (...args: string[]) => {
      const at = args.indexOf('--file');
      // The Incident knows the log that the file is from.
      if (at >= 0 && !isForged) {
        const { session } = parseExport(readFileSync(args[at + 1] ?? '', 'utf8'), 'file');
        audit = { sealedHeadHash: session.headHash };
      }
      return await run(...args);
    },
    /** From now on, files are not from the log of the Incident, whose status says this. */
    forge: (status: AuditStatus | undefined) => {
      isForged = true;
      audit = status;
    },
    text: () => lines.join(''),
    notes: () => notes.join(''),
    clear: () => void lines.splice(0),
    seal: (hash: string) => {
      audit = { sealedHeadHash: hash };
    },
    questions,
    /** Somebody else begins an undo while this one acts. */
    beginOther: (by: string) => {
      other = by;
    },
    steps,
    annotations,
    refuseRecord: () => {
      annotate = () => Promise.reject(new KubeError(403, 'Forbidden', 'you may not patch incidents'));
    },
  };
}

export const changed = [...patch(2, object('a = 1\nb = 2', '1'), object('a = 1\nb = 3', '2'))];
export const now = (text: string): Present => ({ state: 'present', object: object(text, '7') });
