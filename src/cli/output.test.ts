// What commands write, as a terminal gets it.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { processOutput } from './output.ts';

const EVIL = 'a\u001b[2J\u001b]0;x\u0007\u009b2J\r\u202eb';
const CONTROLS = /(?!\n)\p{Cc}|\u202e/u;

afterEach(() => vi.restoreAllMocks());

it('writes no control character, on neither stream', () => {
  const written: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
  }
  const output = processOutput();
  output.line(EVIL);
  output.write(EVIL);
  output.note(EVIL);
  vi.restoreAllMocks();
  expect(written).toHaveLength(3);
  for (const text of written) expect(text).not.toMatch(CONTROLS);
});

it('ends with an error that controls no terminal', () => {
  const main = path.join(import.meta.dirname, '../main.ts');
  const run = () => execFileSync(process.execPath, [main, 'audit', 'list', '--file', EVIL], { stdio: 'pipe' });
  expect(run).toThrow(expect.objectContaining({ stderr: expect.anything() }));
  try {
    run();
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    expect(stderr).toContain('a\\u001b[2J');
    expect(stderr).not.toMatch(CONTROLS);
  }
});
