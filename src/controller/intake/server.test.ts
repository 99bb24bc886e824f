import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { IntakeUnavailable } from '../../errors.ts';
import { KubeError } from '../../kube/errors.ts';
import type { Alarm, AlarmEnd } from '../alarm/alarm.ts';
import { BearerToken } from './bearer-token.ts';
import { Intake } from './intake.ts';
import { parseIntakeConfig } from './route.ts';
import { type IntakeServer, startIntakeServer } from './server.ts';

const TOKEN = 'correct-horse';
const prometheus = { service: 'p' };
const ROUTES = parseIntakeConfig(
  JSON.stringify({
    routes: [
      { name: 'team-a', match: { team: 'a' }, namespace: 'n', prometheus },
      { name: 'team-b', namespace: 'b', prometheus },
      { name: 'broken', match: { team: '/(/' }, namespace: 'n', prometheus },
      { name: 'no-token', namespace: 'n', prometheus },
    ],
  }),
  'test',
);
const LABELS = { team: 'a', alertname: 'X' };

/** An Incident opener that can be made to fail. */
class FakeOpener {
  readonly raised: Alarm[] = [];
  readonly cleared: AlarmEnd[] = [];
  failure: (alarm: Alarm) => Error | undefined = () => undefined;

  async raise(alarm: Alarm) {
    const failure = this.failure(alarm);
    if (failure !== undefined) throw failure;
    this.raised.push(alarm);
    return { incident: `i-${alarm.source.fingerprint}`, opened: true };
  }

  async clear(end: AlarmEnd) {
    this.cleared.push(end);
  }
}

let opener: FakeOpener;
let server: IntakeServer;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oplab-intake-'));
  await writeFile(path.join(folder, 'team-a'), `${TOKEN}\n`);
  for (const name of ['team-b', 'broken']) await writeFile(path.join(folder, name), `token-of-${name}`);
  opener = new FakeOpener();
  const log = silentLogger();
  server = await startIntakeServer({
    intake: new Intake({ incidentOpener: opener, log }),
    routes: ROUTES.map((one) => ({ ...one, token: new BearerToken(path.join(folder, one.name)) })),
    port: 0,
    host: '127.0.0.1',
    log,
  });
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function send(where: string, body: unknown, options: { token?: string; method?: string } = {}) {
  const answer = await fetch(`http://127.0.0.1:${server.port}${where}`, {
    method: options.method ?? 'POST',
    headers: { authorization: `Bearer ${options.token ?? TOKEN}` },
    ...(options.method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const content: unknown = await answer.json();
  return { status: answer.status, retryAfter: answer.headers.get('retry-after'), content };
}
const problem = (code: string, named = '') => ({
  error: { code, message: expect.stringContaining(named) },
});

describe('the intake', () => {
  it('raises firing alerts, clears resolved ones, and reports the result of each', async () => {
    const { status, content } = await send('/webhook/team-a', [
      { summary: 'a', fingerprint: 'f1', labels: LABELS },
      { status: 'resolved', fingerprint: 'f2', labels: LABELS, endsAt: '2026-03-01T12:00:00Z' },
    ]);
    expect(status).toBe(200);
    expect(content).toMatchObject({
      alerts: [
        { fingerprint: 'f1', route: 'team-a', result: 'opened', incident: 'n/i-f1' },
        { fingerprint: 'f2', route: 'team-a', result: 'cleared' },
      ],
    });
    expect(opener.raised).toMatchObject([{ source: { fingerprint: 'f1' }, namespace: 'n' }]);
    const source = { kind: 'Webhook', name: 'team-a/X', fingerprint: 'f2' };
    expect(opener.cleared).toEqual([{ source, namespace: 'n', endTime: '2026-03-01T12:00:00.000Z' }]);
  });

  it('refuses a missing token, and one that only begins like the right one', async () => {
    for (const token of ['', 'correct', `${TOKEN}x`]) {
      const answer = await send('/webhook/team-a', { summary: 'a', labels: LABELS }, { token });
      expect(answer).toMatchObject({ status: 401, content: problem('OPLAB_UNAUTHENTICATED') });
    }
    expect(opener.raised).toEqual([]);
  });

  it('accepts a token only at its own route', async () => {
    const alert = { summary: 'a', labels: LABELS };
    const own = { token: 'token-of-team-b' };
    expect((await send('/webhook/team-b', alert, own)).status).toBe(200);
    expect(opener.raised).toMatchObject([{ source: { name: 'team-b/X' }, namespace: 'b' }]);
    expect((await send('/webhook/team-a', alert, own)).status).toBe(401);
    expect((await send('/webhook/team-b', alert)).status).toBe(401);
    expect((await send('/alertmanager/team-b', { version: '4', alerts: [] })).status).toBe(401);
    expect(opener.raised).toHaveLength(1);
  });

  it.each(['another', ''])('does not reveal which routes exist to the token "%s"', async (token) => {
    const known = await send('/webhook/team-b', {}, { token });
    const unknown = await send('/webhook/team-c', {}, { token });
    expect(unknown).toEqual(known);
    expect(unknown.status).toBe(401);
  });

  it('serves the other routes when one is invalid or has no token, and says so to its own senders', async () => {
    expect(await send('/webhook/broken', {}, { token: 'token-of-broken' })).toMatchObject({
      status: 503,
      content: problem('OPLAB_INTAKE_UNAVAILABLE', 'routes[2].match.team'),
    });
    expect((await send('/webhook/broken', {})).status).toBe(401);
    expect(await send('/webhook/no-token', {})).toMatchObject({
      status: 503,
      content: problem('OPLAB_INTAKE_UNAVAILABLE'),
    });
    expect((await send('/webhook/team-a', { summary: 'a', labels: LABELS })).status).toBe(200);
  });

  it('serves only the paths of its routes', async () => {
    expect((await send('/webhook/team-a', '', { method: 'GET' })).status).toBe(404);
    for (const where of ['/other', '/webhook', '/webhook/', '/webhook/team-a/', '/webhook/%74eam-a', '/other/team-a']) {
      expect(await send(where, {})).toMatchObject({
        status: 404,
        content: problem('OPLAB_NOT_FOUND', '/alertmanager/ROUTE'),
      });
    }
  });

  it('names the invalid field of a body', async () => {
    const wrong = await send('/alertmanager/team-a', {
      version: '4',
      alerts: [{ status: 'firing', labels: {}, startsAt: 7 }],
    });
    expect(wrong).toMatchObject({ status: 400, content: problem('OPLAB_INVALID_INPUT', 'alerts[0].startsAt') });
    expect(await send('/webhook/team-a', '{')).toMatchObject({
      status: 400,
      content: problem('OPLAB_INVALID_INPUT', 'JSON'),
    });
    expect(await send('/webhook/team-a', '')).toMatchObject({
      status: 400,
      content: problem('OPLAB_INVALID_INPUT', 'empty'),
    });
  });

  it('stops reading a body that is too long', async () => {
    const answer = await send('/webhook/team-a', { summary: 'x'.repeat(3 * 1024 * 1024) });
    expect(answer).toMatchObject({ status: 413, content: problem('OPLAB_TOO_LARGE') });
  });

  it('names an alert without a route, and accepts the others', async () => {
    const answer = await send('/webhook/team-a', [
      { summary: 'a', labels: { team: 'b' } },
      { summary: 'b', labels: LABELS },
    ]);
    expect(answer).toMatchObject({ status: 422, content: problem('OPLAB_NO_ROUTE', '"team":"b"') });
    expect(opener.raised).toHaveLength(1);
  });

  it('asks for a retry when an alert could not be written, even if another one was refused', async () => {
    opener.failure = ({ source }) => {
      if (source.fingerprint === 'refused') return new KubeError(422, 'Invalid', 'spec.summary: too long');
      return source.fingerprint === 'later' ? new KubeError(0, 'Unreachable', 'no answer') : undefined;
    };
    const alerts = ['refused', 'later', 'good'].map((fingerprint) => ({ summary: 'a', fingerprint, labels: LABELS }));
    const answer = await send('/webhook/team-a', alerts);
    expect(answer).toMatchObject({ status: 503, retryAfter: '5', content: problem('OPLAB_INTAKE_UNAVAILABLE') });
    expect(opener.raised.map(({ source }) => source.fingerprint)).toEqual(['good']);
    expect(
      (
        await send(
          '/webhook/team-a',
          alerts.filter(({ fingerprint }) => fingerprint !== 'later'),
        )
      ).status,
    ).toBe(422);
  });

  it('asks for a retry after an unknown error, without revealing it', async () => {
    opener.failure = () => new TypeError('secret detail');
    const answer = await send('/webhook/team-a', { summary: 'a', labels: LABELS });
    expect(answer.status).toBe(503);
    expect(JSON.stringify(answer.content)).not.toContain('secret detail');
  });
});

describe('the token', () => {
  it('may change, and the old one is valid as long as it is in the file', async () => {
    const file = path.join(folder, 'rotated');
    await writeFile(file, 'old\nnew\n');
    const token = new BearerToken(file);
    await token.check('Bearer old');
    await token.check('bearer new');
    await writeFile(file, 'new\n');
    await expect(new BearerToken(file).check('Bearer old')).rejects.toMatchObject({ code: 'OPLAB_UNAUTHENTICATED' });
  });

  it('is unavailable when its file is missing or empty', async () => {
    await expect(new BearerToken(path.join(folder, 'none')).check('Bearer x')).rejects.toBeInstanceOf(
      IntakeUnavailable,
    );
    await writeFile(path.join(folder, 'empty'), '\n');
    await expect(new BearerToken(path.join(folder, 'empty')).check('Bearer ')).rejects.toBeInstanceOf(
      IntakeUnavailable,
    );
  });
});
