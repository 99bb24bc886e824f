// What the kube door reads and records before it forwards a write.

import { describe, expect, it } from 'vitest';
import { startKubeDoor } from '../../../../test/support/kube-door.ts';

const PATH = '/api/v1/namespaces/patient/configmaps/config';
const object = (text: string, resourceVersion: string, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'config', namespace: 'patient', uid: 'u1', resourceVersion },
  data: { 'a/b': text },
  ...more,
});
const answering = (value: unknown, order?: string[]) => ({
  answer: (_request: unknown, response: { end(text: string): unknown }) => {
    order?.push('write');
    response.end(JSON.stringify(value));
  },
});
const kinds = (entries: readonly { kind: string }[]) => entries.map(({ kind }) => kind);

describe('the object before a write', () => {
  it('is on record before the write is forwarded, and the outcome names the changed fields', async () => {
    const recorded: string[][] = [];
    const door = await startKubeDoor({
      before: (_request, response) => response.end(JSON.stringify(object('old', '1'))),
      answer: (_request, response) => {
        recorded.push(kinds(door.entries));
        response.end(JSON.stringify(object('new', '2')));
      },
    });
    expect((await door.send('PATCH', PATH, '{"data":{"a/b":"new"}}', merge)).status).toBe(200);
    expect(recorded).toEqual([['kube_intent', 'kube_before']]);
    const [, before, outcome] = door.entries;
    expect(before?.params).toMatchObject({
      ...{ intentSeq: 1, state: 'present', verb: 'patch', name: 'config' },
      object: { uid: 'u1', resourceVersion: '1' },
    });
    expect(JSON.parse(before?.blob ?? '')).toEqual(object('old', '1'));
    expect(outcome?.params).toMatchObject({ changed: ['/data/a~1b'] });
    expect(door.memory.total).toBe(0);
  });

  it('is read under the attempt’s own rights, and a refusal is recorded but stops no write', async () => {
    const tokens: unknown[] = [];
    const door = await startKubeDoor({
      ...answering(object('new', '2')),
      before: (request, response) => {
        tokens.push(request.headers.authorization);
        // The API server's own audit log tells it from a read of the agent.
        expect(request.headers['audit-id']).toMatch(/^oplab-gateway-/);
        response.writeHead(403).end('{}');
      },
    });
    expect((await door.send('PUT', PATH, JSON.stringify(object('new', '1')))).status).toBe(200);
    expect(tokens).toEqual(['Bearer attempt-token']);
    expect(door.entries[1]).toMatchObject({
      kind: 'kube_before',
      params: { state: 'unreadable', why: 'the API server answered 403' },
    });
  });

  it('is the parent of a subresource, and absent where there is none', async () => {
    const asked: unknown[] = [];
    const door = await startKubeDoor({
      ...answering({ metadata: {} }),
      before: (request, response) => {
        asked.push(request.url);
        response.writeHead(404).end('{}');
      },
    });
    await door.send('PATCH', '/apis/apps/v1/namespaces/patient/deployments/web/scale', '{}', merge);
    expect(asked).toEqual(['/apis/apps/v1/namespaces/patient/deployments/web']);
    expect(door.entries[1]?.params).toMatchObject({ state: 'absent' });
  });

  it('is the list that a deletecollection matches, page by page, with what is left out', async () => {
    const asked: URLSearchParams[] = [];
    const door = await startKubeDoor({
      ...answering({ metadata: {} }),
      before: (request, response) => {
        const query = new URL(request.url ?? '', 'http://x').searchParams;
        asked.push(query);
        const metadata = { continue: 'next', remainingItemCount: 700 };
        response.end(JSON.stringify({ metadata, items: Array.from({ length: 50 }, () => object('x', '1')) }));
      },
    });
    await door.send('DELETE', '/api/v1/namespaces/patient/configmaps?labelSelector=a%3Db');
    expect(asked[0]?.get('labelSelector')).toBe('a=b');
    expect(asked[1]?.get('continue')).toBe('next');
    const parts = door.entries.filter(({ kind }) => kind === 'kube_before');
    const objects = parts.flatMap(({ blob }) => JSON.parse(blob ?? '').items);
    expect(objects).toHaveLength(500);
    expect(parts[0]?.params).toMatchObject({ state: 'list', more: 700 });
  });

  it('of a Secret shows its keys, and the outcome which of them changed', async () => {
    const secret = (password: string, version: string) => ({
      ...object('', version, { kind: 'Secret' }),
      data: { password, user: 'YQ==' },
    });
    const door = await startKubeDoor({
      ...answering(secret('Y2F0cw==', '2')),
      before: (_request, response) => response.end(JSON.stringify(secret('ZG9ncw==', '1'))),
    });
    await door.send('PATCH', '/api/v1/namespaces/patient/secrets/s', '{"data":{"password":"Y2F0cw=="}}', merge);
    expect(JSON.stringify(door.entries)).not.toMatch(/ZG9ncw|Y2F0cw/);
    expect(door.entries[1]).toHaveProperty('rawBody');
    expect(JSON.parse(door.entries[1]?.blob ?? '').data).toEqual({ password: '[redacted]', user: '[redacted]' });
    expect(door.entries[2]?.params).toMatchObject({ changed: ['/data/password'] });
  });

  it('is not read for what changes no stored object', async () => {
    const asked: unknown[] = [];
    const door = await startKubeDoor({
      ...answering(object('x', '1')),
      before: (request, response) => {
        asked.push(request.url);
        response.end('{}');
      },
    });
    await door.send('PATCH', `${PATH}?dryRun=All`, '{}', merge);
    await door.send('DELETE', PATH, '{"dryRun":["All"]}', { 'content-length': '18' });
    await door.send('POST', '/api/v1/namespaces/patient/configmaps', JSON.stringify(object('x', '1')));
    expect(asked).toEqual([]);
  });

  it('is left out when it is too large, and the write goes on', async () => {
    const door = await startKubeDoor({
      ...answering(object('new', '2')),
      before: (_request, response) => response.end(JSON.stringify(object('x'.repeat(3 * 1024 * 1024), '1'))),
    });
    expect((await door.send('PATCH', PATH, '{}', merge)).status).toBe(200);
    expect(door.entries[1]?.params).toMatchObject({ state: 'unreadable', why: expect.stringMatching(/2097152 bytes/) });
  });

  it('stops the write if it cannot be recorded', async () => {
    const door = await startKubeDoor({ ...answering(object('new', '2')), auditFailsAfter: 1 });
    expect((await door.send('PATCH', PATH, '{}', merge)).status).toBe(503);
    expect(kinds(door.entries)).toEqual(['kube_intent']);
    expect(door.seen).toEqual([]);
  });
});

const merge = { 'content-type': 'application/merge-patch+json' };
