// Child processes: how they end, what they report, and the end of their whole process tree.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ChildFailed, output, run, searchPath, succeeds } from './child.ts';

test('a failure carries the exit code and the last words', async () => {
  const failed = run('sh', ['-c', 'echo why >&2; exit 3']);
  await expect(failed).rejects.toThrow(ChildFailed);
  await expect(failed).rejects.toMatchObject({ code: 3, message: expect.stringContaining('why') });
  expect(await succeeds('no-such-program', [])).toBe(false);
});

test('input arrives, the input of nobody is empty', async () => {
  expect(await output('cat', [], { input: 'hello' })).toBe('hello');
  expect(await output('cat', [])).toBe('');
});

test('an abort ends grandchildren too', async () => {
  const controller = new AbortController();
  const running = run('sh', ['-c', 'sleep 987 & echo $! > /dev/null; wait'], { signal: controller.signal });
  await sleep(200);
  controller.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
  await sleep(200);
  expect(await output('sh', ['-c', 'pgrep -fx "sleep 987" || true'])).toBe('');
});

test('a child that takes too long is a failure', async () => {
  await expect(run('sleep', ['30'], { timeoutMs: 100 })).rejects.toThrow(ChildFailed);
});

test('the tools that fit our cluster come first on PATH, once', () => {
  const once = searchPath('/usr/bin:/bin');
  expect(once).toMatch(/\.oplab\/bin:\/usr\/bin:\/bin$/);
  expect(searchPath(once)).toBe(once);
});
