// The rules on the docker plane: a store's container is found and started, whatever it is called, and only if it was stopped.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rehearse } from '../../test/support/rehearse.ts';
import { loadRules, type RuleBook } from './rule.ts';
import { DEFAULT_RULES } from './server.ts';

let book: RuleBook;
beforeAll(async () => {
  book = await loadRules(DEFAULT_RULES);
});

interface Host {
  readonly namespace: string;
  readonly container: string;
  readonly store: number;
  readonly ended: string;
}

/** Stand-ins for the programs of the sandbox: `docker start` makes a file, and PD sees the store again once it is there. */
async function repair({ namespace, container, store, ended }: Host) {
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-container-'));
  const bin = path.join(directory, 'bin');
  const started = path.join(directory, 'started');
  const program = (name: string, text: string) =>
    writeFile(path.join(bin, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  const item = (state: string) =>
    `{"stores":[{"store":{"id":${store},"address":"${container}:20160","state_name":"${state}"},"status":{"capacity":"10GiB","available":"9GiB","leader_count":3,"region_count":3}}]}`;
  const services = [
    ['pd', 2379],
    ['prom', 9090],
  ].map(([name, port]) => ({ metadata: { name }, spec: { clusterIP: '10.0.0.1', ports: [{ port }] } }));
  try {
    await mkdir(bin);
    // Waiting changes nothing here.
    await program('sleep', 'exit 0');
    await program(
      'docker',
      `case "$1" in
ps) echo "container ${container} $([ -e ${started} ] && echo running || echo exited) image (x)" ;;
inspect) echo "ended ${ended} at=now" ;;
start) [ "$2" = "${container}" ] && touch ${started} && echo "$2" ;;
esac`,
    );
    await program(
      'curl',
      `case "$*" in
*/api/v1/query*) echo '{"data":{"result":[{"metric":{"type":"store_disconnected_count"},"value":[0,"1"]}]}}' ;;
*/stores*) if [ -e ${started} ]; then echo '${item('Up')}'; else echo '${item('Disconnected')}'; fi ;;
*/health*) echo '[{"name":"pd0","health":true}]' ;;
*/regions/check/*) echo '{"count":0}' ;;
*/schedulers*) echo '["balance-region-scheduler","balance-leader-scheduler"]' ;;
*) echo '{}' ;;
esac`,
    );
    await program(
      'kubectl',
      `case "$*" in
*"config view"*) echo ${namespace} ;;
*"get statefulsets,deployments -o json"*) echo '{"items":[{"kind":"Deployment","metadata":{"name":"relay"},"spec":{"replicas":1},"status":{"readyReplicas":1}}]}' ;;
*"get services -o json"*) echo '${JSON.stringify({ items: services })}' ;;
*"-o json"*) echo '{"items":[]}' ;;
esac`,
    );
    return await rehearse(book, directory, `${bin}:${process.env.PATH}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe('a store whose container has stopped', { timeout: 60_000 }, () => {
  it.each<Host>([
    { namespace: 'docker-patient', container: 'tikv0', store: 1, ended: 'exit=0 oom=false' },
    { namespace: 'blue', container: 'shop-kv-2', store: 1003, ended: 'exit=143 oom=false' },
  ])('is started under its own name: $container in $namespace', async (host) => {
    const { commands, conclusion } = await repair(host);
    expect(commands.filter((command) => /^docker (start|stop|rm|restart)/.test(command))).toEqual([
      `docker start ${host.container}`,
    ]);
    expect(conclusion).toMatchObject({ outcome: 'fixed' });
    expect(conclusion.summary).toContain(host.container);
    expect(commands.findIndex((command) => command.includes('/api/v1/query'))).toBeGreaterThan(0);
  });

  it('is left alone when it did not end because somebody stopped it', async () => {
    const { commands, conclusion } = await repair({
      ...{ namespace: 'n', container: 'tikv0', store: 1, ended: 'exit=137 oom=true' },
    });
    expect(commands.some((command) => command.startsWith('docker start'))).toBe(false);
    expect(conclusion.outcome).toBe('cannot_fix');
  });
});
