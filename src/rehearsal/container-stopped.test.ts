// The rules on the docker plane: a store's container is found and started, whatever it is called, and only if it was stopped.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CommandMemory } from '../../test/support/command-memory.ts';
import { type Program, startFakePrograms } from '../../test/support/fake-programs.ts';
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

/** The programs of the sandbox: PD sees the store again once its container was started. */
function hostPrograms({ namespace, container, store, ended }: Host): Program {
  let state = 'Disconnected';
  const start = () => {
    state = 'Up';
    return container;
  };
  const status = { capacity: '10GiB', available: '9GiB', leader_count: 3, region_count: 3 };
  const services = Object.entries({ pd: 2379, prom: 9090 }).map(([name, port]) => ({
    metadata: { name },
    spec: { clusterIP: '10.0.0.1', ports: [{ port }] },
  }));
  const relay = {
    kind: 'Deployment',
    metadata: { name: 'relay' },
    spec: { replicas: 1 },
    status: { readyReplicas: 1 },
  };
  const outputs: [program: string, pattern: RegExp, output: () => unknown][] = [
    ['docker', /^ps /, () => `container ${container} ${state === 'Up' ? 'running' : 'exited'} image (x)`],
    ['docker', /^inspect /, () => `ended ${ended} at=now`],
    ['docker', new RegExp(`^start ${container}$`), start],
    [
      'curl',
      /api\/v1\/query/,
      () => ({ data: { result: [{ metric: { type: 'store_disconnected_count' }, value: [0, '1'] }] } }),
    ],
    [
      'curl',
      /stores/,
      () => ({ stores: [{ store: { id: store, address: `${container}:20160`, state_name: state }, status }] }),
    ],
    ['curl', /health/, () => [{ name: 'pd0', health: true }]],
    ['curl', /regions\/check\//, () => ({ count: 0 })],
    ['curl', /schedulers/, () => ['balance-region-scheduler', 'balance-leader-scheduler']],
    ['curl', /^/, () => ({})],
    ['kubectl', /config view/, () => namespace],
    ['kubectl', /get statefulsets,deployments -o json/, () => ({ items: [relay] })],
    ['kubectl', /get services -o json/, () => ({ items: services })],
    ['kubectl', /-o json/, () => ({ items: [] })],
    ['kubectl', /^/, () => ''],
  ];
  return (program, args) => {
    const [, , output] = outputs.find(([name, pattern]) => name === program && pattern.test(args.join(' '))) ?? [];
    if (output === undefined) throw new Error(`${program} ${args.join(' ')}: not known here`);
    const value = output();
    return typeof value === 'string' ? value : JSON.stringify(value);
  };
}

const memory = new CommandMemory();

async function repair(host: Host) {
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-container-'));
  const programs = await startFakePrograms(directory, ['docker', 'curl', 'kubectl'], hostPrograms(host));
  try {
    return await rehearse(book, memory, programs);
  } finally {
    await programs.close();
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
      namespace: 'n',
      container: 'tikv0',
      store: 1,
      ended: 'exit=137 oom=true',
    });
    expect(commands.some((command) => command.startsWith('docker start'))).toBe(false);
    expect(conclusion.outcome).toBe('cannot_fix');
  });
});
