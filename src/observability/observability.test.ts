// Logs never contain credentials, and the health server reports why a process is not ready.

import { describe, expect, it } from 'vitest';
import { startHealthServer } from './health.ts';
import { createLogger } from './logger.ts';
import { Counter, createRegistry } from './metrics.ts';

describe('createLogger', () => {
  it('redacts credentials in headers at the usual depths', () => {
    const lines: string[] = [];
    const logger = createLogger('test', { level: 'info', stream: { write: (line) => lines.push(line) } });
    logger.info({ authorization: 'Bearer abc', headers: { 'x-api-key': 'sk-1' } }, 'one');
    logger.info({ request: { headers: { authorization: 'Bearer def' } }, path: '/v1/messages' }, 'two');
    const text = lines.join('');
    expect(text).not.toMatch(/abc|sk-1|def/);
    expect(text).toContain('/v1/messages');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ name: 'test', level: 'info', msg: 'one' });
  });

  it.each(['error', 'err'])(
    'says what an error in the field %s was and where, and nothing that hangs on it',
    (field) => {
      const lines: string[] = [];
      const logger = createLogger('test', { level: 'info', stream: { write: (line) => lines.push(line) } });
      const error = new TypeError('why it failed', { cause: new Error('deeper') });
      Object.assign(error, { code: 'ERR_X', config: { data: 'subject_token=abc', headers: { Authorization: 'def' } } });
      logger.error({ [field]: error }, 'one');
      expect(JSON.parse(lines[0] ?? '')[field]).toEqual({
        ...{ type: 'TypeError', code: 'ERR_X', message: expect.stringMatching(/^why it failed/) },
        stack: expect.stringMatching(/why it failed\n.*observability\.test\.ts.*deeper/s),
      });
      logger.error({ [field]: 'only a text' }, 'two');
      expect(JSON.parse(lines[1] ?? '')[field]).toBe('only a text');
    },
  );
});

describe('startHealthServer', () => {
  it('reports why the process is not ready, and serves metrics', async () => {
    let reason: string | undefined = 'the audit log is read-only';
    const registry = createRegistry('test');
    new Counter({ name: 'oplab_things_total', help: 'things', registers: [registry] }).inc(3);
    const server = await startHealthServer({ port: 0, host: '127.0.0.1', ready: () => reason, registry });
    try {
      const get = async (path: string) => {
        const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
        return { status: response.status, text: await response.text() };
      };
      expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
      expect(await get('/readyz')).toEqual({ status: 503, text: 'the audit log is read-only\n' });
      reason = undefined;
      expect(await get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
      expect((await get('/metrics')).text).toContain('oplab_things_total{process="test"} 3');
      expect((await get('/other')).status).toBe(404);
    } finally {
      await server.close();
    }
  });
});
