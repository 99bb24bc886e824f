// One sandbox cannot stop the kube door for the others: what it sends at once has a limit.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startKubeDoor } from '../../../../test/support/kube-door.ts';

const CONFIGMAPS = '/api/v1/namespaces/patient/configmaps';
const MIB = 1024 * 1024;

describe('bodies in memory', () => {
  it('are limited: of 60 bodies of 3 MiB at once, the gateway never keeps more than 8 MiB', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.writeHead(403).end('{}') });
    const body = Buffer.alloc(3 * MIB - 100, ' ');
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, through.memory.total);
    }, 1);
    const answers = await Promise.allSettled(Array.from({ length: 60 }, () => through.send('POST', CONFIGMAPS, body)));
    clearInterval(watch);
    const refused = answers.filter(({ status }) => status === 'rejected').length;
    const statuses = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.status : 0));
    expect(statuses.filter((status) => status === 429).length + refused).toBeGreaterThan(0);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(8 * MIB);
    await expect.poll(() => through.memory.total).toBe(0);
  });

  it('are refused over the share, in the form that kubectl retries, and counted', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.end('{}') });
    const other = through.memory.hold('s oplab-sandbox');
    other.grow(8 * MIB - 10);
    const { status, headers, body } = await through.send('POST', CONFIGMAPS, '{"kind":"ConfigMap"}');
    expect([status, headers['retry-after']]).toEqual([429, '1']);
    expect(JSON.parse(body.toString())).toMatchObject({
      kind: 'Status',
      code: 429,
      reason: 'TooManyRequests',
      message: expect.stringContaining('OPLAB_OVER_QUOTA'),
    });
    expect(await through.metrics()).toContain('oplab_refused_total{door="kube",reason="OPLAB_OVER_QUOTA",process="test"} 1');
    other.release();
    expect((await through.send('POST', CONFIGMAPS, '{"kind":"ConfigMap"}')).status).toBe(200);
  });

  it('of answers are limited too: a DELETE that is answered with 40 MiB keeps 2 MiB', async () => {
    const piece = Buffer.alloc(MIB, '{');
    let most = 0;
    const through = await startKubeDoor({
      answer: async (_, response) => {
        for (let sent = 0; sent < 40; sent += 1) {
          response.write(piece);
          await sleep(1);
          most = Math.max(most, through.memory.total);
        }
        response.end();
      },
    });
    const { status, body } = await through.send('DELETE', `${CONFIGMAPS}?dryRun=All`);
    expect([status, body.length]).toEqual([200, 40 * MIB]);
    expect(most).toBeLessThanOrEqual(2 * MIB + 128 * 1024);
    const outcome = through.entries.at(-1);
    expect(outcome?.params).toMatchObject({ status: 200, isPartial: true });
    expect(outcome?.content).toContain('too large to be recorded whole');
    expect(outcome?.blob?.length).toBeLessThanOrEqual(2 * MIB + 128 * 1024);
  });
});
