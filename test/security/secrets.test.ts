// The model's key is in the gateway, and nowhere else.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { child, kubectl, oplab } from '../support/live.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { conclude, readToolResults, shell } from '../support/scripted-model.ts';

describe('the model key', () => {
  let lab: OperatorHarness;
  beforeAll(async () => {
    lab = await openOperatorHarness();
  });
  afterAll(() => lab?.close());

  it('reaches the model server and appears in no environment, file, pod spec, log or audit entry', async () => {
    const outside: string[] = [];
    lab.model.play(
      shell(
        'env',
        "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
        'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "',
        // The key is split, so that the search does not find its own command line.
        `grep -rIl --exclude-dir=proc --exclude-dir=sys "${lab.modelKey.slice(0, 20)}""${lab.modelKey.slice(20)}" / 2>/dev/null | head; echo searched`,
        // Even if the model prints the key, it must not get into the record.
        `echo ${lab.modelKey}`,
      ),
      async (request) => {
        const pod = await lab.agentPod('key-hunt');
        for (const container of ['agent', 'sandbox'])
          outside.push(
            (
              await child(
                'kubectl',
                [
                  '-n',
                  'oplab-agents',
                  'exec',
                  pod,
                  '-c',
                  container,
                  '--',
                  'sh',
                  '-c',
                  'cat /proc/[0-9]*/environ; ls -laR /etc/oplab /run/oplab /var/run/secrets',
                ],
                { allowFailure: true },
              )
            ).stdout,
          );
        outside.push(await kubectl('-n', 'oplab-agents', 'logs', pod, '--all-containers'));
        return conclude('cannot_fix')(request);
      },
    );
    await lab.open('key-hunt');
    await lab.finished('key-hunt');

    // The key was used: the scripted model received it.
    expect(lab.model.headers.some((headers) => headers['x-api-key'] === lab.modelKey)).toBe(true);

    const [env, environs, commandLines, files] = readToolResults(lab.model.requests.at(-1));
    for (const seen of [env, environs, files]) expect(seen).not.toContain(lab.modelKey);
    expect(commandLines).toBeDefined();
    expect(files).toContain('searched');

    outside.push(
      await kubectl('get', 'pods,configmaps,incidents,deployments,events', '-A', '-o', 'yaml'),
      await kubectl('-n', 'oplab-system', 'logs', 'deployment/oplab-gateway'),
      await kubectl('-n', 'oplab-system', 'logs', 'deployment/oplab-controller'),
      (await oplab('audit', 'show', 'key-hunt', '-n', lab.namespace, '--full', '-o', 'json')).stdout,
    );
    for (const text of outside) {
      expect(text.length).toBeGreaterThan(0);
      expect(text).not.toContain(lab.modelKey);
    }
  });
});
