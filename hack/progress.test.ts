// Progress: what a person sees while waiting, on a terminal and in a log.
import { expect, test } from 'vitest';
import { duration, type ProgressOutput, progressLine, runSteps } from './progress.ts';

function recorder(isTTY: boolean): ProgressOutput & { text(): string } {
  let text = '';
  const write = (more: string): void => {
    text += more;
  };
  return { isTTY, now: () => 0, write, text: () => text };
}

test('a line says which step of how many, how long so far and how long it usually takes', () => {
  expect(progressLine({ index: 2, count: 5 }, { title: 'compile kube', expectedSeconds: 370 }, 65, 'linking')).toBe(
    'step 2 of 5: compile kube (1 min 05 s, expected 6 min 10 s) – linking',
  );
  expect(duration(59.6)).toBe('1 min 00 s');
});

test('a log gets a line at the start and at the end, a heartbeat between, and no control characters', async () => {
  const output = recorder(false);
  const wait = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));
  await runSteps([{ title: 'slow', expectedSeconds: 1, run: wait }], { output, heartbeatMs: 25 });
  expect(output.text()).toMatch(/^==> step 1 of 1: slow/);
  expect(output.text().match(/step 1 of 1: slow \(/g)?.length).toBeGreaterThanOrEqual(2);
  expect(output.text()).toContain('✓ slow');
  expect(output.text()).not.toContain('\u001b');
});

test('the first failure ends the run and marks its step', async () => {
  const output = recorder(false);
  const ran: string[] = [];
  const step = (title: string, error?: Error) => ({
    title,
    expectedSeconds: 1,
    run: async () => {
      ran.push(title);
      if (error !== undefined) throw error;
    },
  });
  await expect(runSteps([step('a'), step('b', new Error('broken')), step('c')], { output })).rejects.toThrow('broken');
  expect(ran).toEqual(['a', 'b']);
  expect(output.text()).toContain('✗ b');
});

test('after an abort no further step begins', async () => {
  const controller = new AbortController();
  const steps = [
    { title: 'a', expectedSeconds: 1, run: async () => controller.abort(new Error('enough')) },
    { title: 'b', expectedSeconds: 1, run: async () => expect.unreachable() },
  ];
  await expect(runSteps(steps, { output: recorder(true), signal: controller.signal })).rejects.toThrow('enough');
});
