// Real faults in the TiKV cluster: the rehearsal model repairs them from what the shell prints, and
// checks prove the repair.

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  describeHealth,
  Incidents,
  inject,
  installOperator,
  openSession,
  type PatientTarget,
  patientDefaults,
  runTrial,
  scenarioNamed,
  soak,
  storeViews,
  tikvTrial,
} from '../../lab/index.ts';
import { isTrue } from '../../src/api/meta.ts';
import { apply, example, finished, KUBECONFIG, kubectl, oplab, trail } from '../support/live.ts';
import { pairAll } from '../support/nothing-unexplained.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const target: PatientTarget = {
  namespace: 'tikv',
  release: 'tikv',
  kubeconfig: KUBECONFIG,
  signal: new AbortController().signal,
};

interface ScenarioReport {
  scenario: string;
  model: string;
  phase: string;
  verified: boolean;
  entries: number;
  turns: number;
  chainValid: boolean;
  ledgerLost: number;
  seconds: { inject: number; repair: number };
}
const report: ScenarioReport[] = [];
const begun = new Date();

const stores = async () => {
  await using session = await openSession(target);
  return await storeViews(session);
};

async function seconds<T>(work: () => Promise<T>): Promise<[T, number]> {
  const started = performance.now();
  return [await work(), Math.round((performance.now() - started) / 100) / 10];
}

const trialContext = { kubeconfig: KUBECONFIG, signal: target.signal, note: () => undefined };
const incidents = new Incidents(trialContext, target.namespace);

describe('with the rehearsal model, a stand-in for Claude', () => {
  beforeAll(async () => {
    // The Incidents here are created by hand. Those of Monitors about the same fault would be
    // queued before them.
    await incidents.watch(await incidents.monitors(), false);
    await installOperator({ kubeconfig: KUBECONFIG, model: 'rehearsal', signal: target.signal });
    const health = await soak(target, { seconds: 0, withinSeconds: 240 });
    expect(describeHealth(health, false)).not.toContain('✗');
  });
  afterAll(async () => {
    await incidents.watch(await incidents.monitors(), true);
    await mkdir(path.join(root, 'reports'), { recursive: true });
    await writeFile(
      path.join(root, 'reports/e2e.json'),
      `${JSON.stringify({ at: new Date().toISOString(), scenarios: report }, null, 2)}\n`,
    );
  });

  it.each(['store-scaled-down', 'bad-config'])('%s is repaired and verified', async (scenario) => {
    // Removes the Incident of an earlier run.
    await kubectl('-n', target.namespace, 'delete', 'incident', scenario, '--ignore-not-found', '--timeout=60s');
    const before = await stores();
    const [, injectSeconds] = await seconds(() => inject(scenario, target));

    // The text is the same for every fault, so it gives nothing away.
    const manifest = await example('incident.yaml');
    const spec = {
      ...(manifest.spec as Record<string, unknown>),
      summary: 'Something is wrong with the database',
      description: '',
    };
    await apply({ ...manifest, metadata: { name: scenario, namespace: target.namespace }, spec });
    const [incident, repairSeconds] = await seconds(() => finished(target.namespace, scenario, 480));
    const { status } = incident;

    const entries = await trail(target.namespace, scenario);
    const audit = await oplab('audit', 'verify', scenario, '-n', target.namespace);
    const health = await soak(target, { seconds: 0, withinSeconds: 120 });
    report.push({
      scenario,
      model: status?.attempts?.at(-1)?.class.model ?? 'none',
      phase: status?.phase ?? 'unknown',
      verified: isTrue(status?.conditions, 'Verified'),
      entries: entries.length,
      turns: status?.usage?.turns ?? 0,
      chainValid: audit.code === 0,
      ledgerLost: health.ledger.ledgerLost,
      seconds: { inject: injectSeconds, repair: repairSeconds },
    });

    expect(status).toMatchObject({ phase: 'Resolved', claim: { outcome: 'Fixed' } });
    for (const type of ['RepairClaimed', 'Verified', 'AuditSealed', 'Finished', 'Succeeded'])
      expect(isTrue(status?.conditions, type), type).toBe(true);
    expect(audit.code, audit.stdout + audit.stderr).toBe(0);
    expect(describeHealth(health, false)).not.toContain('✗');
    expect(health.ledger.ledgerLost).toBe(0);
    // The same stores, not new ones that replace them.
    const identity = (list: typeof before) => list.map(({ id, pod }) => `${pod} is store ${id}`).sort();
    expect(identity(await stores())).toEqual(identity(before));

    // The trail leads from question to proof: thought, ran, saw, changed. The status anchors the
    // log.
    const kinds = new Set(entries.map((entry) => entry.kind));
    for (const kind of [
      'reasoning',
      'tool_call',
      'tool_result',
      'model_call',
      'kube_intent',
      'kube_before',
      'kube_outcome',
      'lifecycle',
    ] as const)
      expect(kinds, kind).toContain(kind);
    expect(status?.audit).toMatchObject({
      entries: entries.length,
      headHash: entries.at(-1)?.hash,
      sealedHeadHash: entries.at(-1)?.hash,
    });
    expect(status?.audit?.tail?.at(-1)?.seq).toBe(entries.length);
    for (const line of status?.audit?.tail ?? []) expect(Buffer.byteLength(line.text)).toBeLessThanOrEqual(512);

    // Nothing of the attempt is left: no pod, no account, no rights.
    const label = `oplab.dev/incident-name=${scenario}`;
    expect(await kubectl('get', 'rolebindings', '-A', '-l', label, '-o', 'name')).toBe('');
    expect(
      await kubectl('-n', 'oplab-agents', 'get', 'serviceaccounts,networkpolicies', '-l', label, '-o', 'name'),
    ).toBe('');
  });

  it('shows what the repair of bad-config changed, and undoes it, on record', async () => {
    const at = ['bad-config', '-n', target.namespace];
    const shown = await oplab('changes', ...at);
    expect(shown.code, shown.stderr).toBe(0);
    // The repair removes the misspelled key.
    expect(shown.stdout).toMatch(/^configmaps \S+\/tikv-tikv$/m);
    expect(shown.stdout).toMatch(/^-\s+raft-entry-maxsize = "8MiB"$/m);

    const config = ['-n', target.namespace, 'get', 'configmap', 'tikv-tikv', '-o', 'json'];
    const repaired = JSON.parse(await kubectl(...config)).data;
    expect((await oplab('undo', ...at, '--dry-run')).stdout).toContain('would be put back: /data/tikv.toml set to');
    expect(JSON.parse(await kubectl(...config)).data).toEqual(repaired);

    const undone = await oplab('undo', ...at, '--yes');
    // A pod that the agent has deleted is not put back: its StatefulSet has created it anew.
    expect([0, 5], undone.stdout + undone.stderr).toContain(undone.code);
    expect(undone.stdout).toContain('put back: /data/tikv.toml');
    try {
      expect(JSON.parse(await kubectl(...config)).data['tikv.toml']).toContain('raft-entry-maxsize');
      const { metadata } = JSON.parse(
        await kubectl('-n', target.namespace, 'get', 'incident', 'bad-config', '-o', 'json'),
      );
      expect(JSON.parse(metadata.annotations['oplab.dev/undo'])).toEqual([
        expect.objectContaining({ putBack: 1, failed: 0, endedAt: expect.any(String) }),
      ]);
      expect((await oplab('incident', 'show', ...at)).stdout).toMatch(/^Undo$/m);
      expect(
        undone.stdout
          .split('\n')
          .filter((line) => /conflict:/.test(line) && !/somebody else created another object/.test(line)),
      ).toEqual([]);
    } finally {
      // No store has read the broken file yet.
      const patch = JSON.stringify({ data: repaired });
      await kubectl('-n', target.namespace, 'patch', 'configmap', 'tikv-tikv', '--type=merge', `--patch=${patch}`);
    }
  });
});

describe('as npm run e2e runs it', () => {
  it.each(['leftover-evict-leader', 'poisoned-log', 'false-alarm'])('%s', async (name) => {
    const trial = tikvTrial(scenarioNamed(name), patientDefaults);
    const report = await runTrial(trial, trialContext, { holdSeconds: 5, byHand: true });
    expect(report.faults).toEqual([]);
    expect(report.passed).toBe(true);
  });
});

it('leaves no write that only one of the two logs has, over all scenarios', async () => {
  const { pairs, faults } = await pairAll(begun);
  expect(faults).toEqual([]);
  expect(pairs).toBeGreaterThanOrEqual(3);
});
