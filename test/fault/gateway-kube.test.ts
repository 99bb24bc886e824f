// The kube door between real kubectl and a real API server, and its record of every write.

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/audit/entry.ts';
import { INCIDENTS, PODS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

let lab: GatewayHarness;
let attempt: Attempt;
beforeAll(async () => {
  lab = await startGatewayHarness();
  attempt = await lab.open('kube');
  // The controller that makes it in each namespace does not run here, and pods need it.
  await lab.client.create(SERVICE_ACCOUNTS, { metadata: { namespace: TARGET, name: 'default' } });
});
afterAll(async () => {
  await lab?.close();
});

/** Entries that the kube door wrote while `work` ran. */
async function recorded(work: () => Promise<unknown>): Promise<Entry[]> {
  const before = (await lab.entries(attempt)).length;
  await work();
  return (await lab.entries(attempt)).slice(before).filter((entry) => entry.kind.startsWith('kube_'));
}

/** A bare request to the kube door. */
const bare = (method: string, path: string, headers: Record<string, string>, body?: string) =>
  lab.kube(attempt, method, path, headers, body);

describe('the kube door', () => {
  it('lets kubectl read as the attempt’s own account, without an entry', async () => {
    const entries = await recorded(async () => {
      const whoami = await lab.kubectl(attempt, 'auth', 'whoami', '-o', 'json');
      expect(JSON.parse(whoami.stdout).status.userInfo.username).toBe(
        `system:serviceaccount:oplab-agents:${attempt.podName}`,
      );
      expect((await lab.kubectl(attempt, 'auth', 'can-i', 'delete', 'pods')).stdout.trim()).toBe('yes');
      expect((await lab.kubectl(attempt, 'get', 'configmaps')).code).toBe(0);
    });
    expect(entries).toEqual([]);
  });

  it('records apply, patch, scale and delete: an intent before, an outcome after', async () => {
    const kinds = (entries: Entry[]) => entries.map((entry) => `${entry.kind} ${entry.content}`);
    const created = await recorded(async () => {
      const made = await lab.kubectl(attempt, 'create', 'deployment', 'web', '--image=none', '--replicas=2');
      expect(made.stderr).toBe('');
    });
    expect(kinds(created)).toEqual([
      `kube_intent create apps/deployments ${TARGET}`,
      `kube_outcome create apps/deployments ${TARGET} web: 201`,
    ]);
    const [intent, outcome] = created;
    // kubectl sends protobuf here. The intent shows its strings, and the outcome shows the object.
    expect(await lab.gateway.log.blob(intent?.blobDigest ?? '')).toMatch(/kind: Deployment(.|\n)*"none"/);
    expect(await lab.gateway.log.blob(outcome?.blobDigest ?? '')).toContain('"replicas":2');
    expect(outcome?.params).toMatchObject({ intentSeq: intent?.seq, status: 201, object: { name: 'web' } });
    expect(outcome?.params).toHaveProperty('object.resourceVersion');

    expect(kinds(await recorded(() => lab.kubectl(attempt, 'scale', 'deployment', 'web', '--replicas=3')))).toEqual([
      `kube_intent patch apps/deployments/scale ${TARGET}/web`,
      `kube_before before patch apps/deployments/scale ${TARGET}/web: present`,
      `kube_outcome patch apps/deployments/scale ${TARGET}/web: 200`,
    ]);
    expect(kinds(await recorded(() => lab.kubectl(attempt, 'delete', 'deployment', 'web', '--wait=false')))).toEqual([
      `kube_intent delete apps/deployments ${TARGET}/web`,
      `kube_before before delete apps/deployments ${TARGET}/web: present`,
      `kube_outcome delete apps/deployments ${TARGET}/web: 200`,
    ]);
  });

  it('counts changes, and nothing else, in the status, even over a restart', async () => {
    const own = await lab.open('changes');
    const kubectl = (...args: string[]) => lab.kubectl(own, ...args);
    await kubectl('get', 'configmaps');
    await kubectl('auth', 'can-i', '--list');
    await kubectl('create', 'configmap', 'dry', '--dry-run=server');
    await kubectl('create', 'namespace', 'mine');
    await kubectl('get', '--raw', `/api/v1/namespaces/${TARGET}/services/none:80/proxy/`);
    await kubectl('get', 'secrets');
    // The status may show an intent for a moment before its answer names the object.
    const counted = (texts: readonly string[]) =>
      eventually(async () => {
        const { changes } = (await lab.incident('changes')).status ?? {};
        const same = JSON.stringify(changes?.last.map(({ text }) => text)) === JSON.stringify(texts);
        return same && changes?.count === texts.length ? true : undefined;
      });
    await counted([]);
    await kubectl('create', 'configmap', 'made');
    await kubectl('delete', 'configmap', 'made');
    const done = [`create configmaps ${TARGET}/made`, `delete configmaps ${TARGET}/made`];
    await counted(done);
    await lab.restartGateway();
    await kubectl('create', 'configmap', 'again');
    await counted([...done, `create configmaps ${TARGET}/again`]);
    // The claim contains the count at the time when it was made.
    await kubectl('delete', 'configmap', 'again');
    const claim = { outcome: 'Fixed', summary: 'done' };
    expect((await lab.ask(own, 'POST', '/agent/v1/conclude', claim)).status).toBe(200);
    expect((await lab.incident('changes')).status).toMatchObject({
      claim: { outcome: 'Fixed' },
      changes: { count: 4 },
    });
  });

  it('names the pods that were entered, and not those that refused, even over a restart', async () => {
    const own = await lab.open('entered');
    const containers = [{ name: 'main', image: 'none' }];
    const pod = (name: string) => ({ metadata: { namespace: TARGET, name }, spec: { containers } });
    for (const name of ['entered', 'closed']) await lab.client.create(PODS, pod(name));
    // No kubelet runs here, so the API server refuses to connect.
    expect((await lab.kubectl(own, 'exec', 'closed', '--', 'true')).code).not.toBe(0);
    const body = JSON.stringify({ spec: { ephemeralContainers: [{ name: 'debug', image: 'none' }] } });
    const path = `/api/v1/namespaces/${TARGET}/pods/entered/ephemeralcontainers`;
    const type = { 'content-type': 'application/strategic-merge-patch+json' };
    expect((await lab.kube(own, 'PATCH', path, type, body)).status).toBe(200);
    const named = () =>
      eventually(async () => {
        const { enteredPods } = (await lab.incident('entered')).status?.changes ?? {};
        return enteredPods?.last.map(({ name, by }) => `${name} ${by}`).join() === 'entered ephemeralcontainers'
          ? enteredPods.count
          : undefined;
      });
    expect(await named()).toBe(1);
    await lab.restartGateway();
    await lab.kubectl(own, 'create', 'configmap', 'after-the-restart');
    expect(await named()).toBe(1);
  });

  it('records a refused write with the API server’s own message', async () => {
    const entries = await recorded(async () => {
      const refused = await lab.kubectl(attempt, 'create', 'priorityclass', 'mine', '--value=1');
      expect(refused.stderr).toContain('forbidden');
    });
    expect(entries.map((entry) => entry.kind)).toEqual(['kube_intent', 'kube_outcome']);
    expect(entries[1]?.params).toMatchObject({ status: 403, reason: 'Forbidden' });
    expect(entries[1]?.content).toContain('cannot create resource');
  });

  it('marks a dry run as one', async () => {
    const entries = await recorded(() => lab.kubectl(attempt, 'create', 'configmap', 'dry', '--dry-run=server'));
    expect(entries[0]?.params).toMatchObject({ dryRun: true });
    expect(entries[0]?.content).toContain('(dry run)');
  });

  it('is not deceived about a dry run: the API server reads the options of a DELETE from the body', async () => {
    await lab.kubectl(attempt, 'create', 'configmap', 'kept');
    const kept = `/api/v1/namespaces/${TARGET}/configmaps/kept`;
    const json = { 'content-type': 'application/json', 'content-length': '2' };
    const dry = await recorded(() => lab.kubectl(attempt, 'delete', 'configmap', 'kept', '--dry-run=server'));
    expect(dry[0]?.params).toMatchObject({ verb: 'delete', dryRun: true });
    expect((await lab.kubectl(attempt, 'get', 'configmap', 'kept')).code).toBe(0);
    const real = await recorded(() => bare('DELETE', `${kept}?dryRun=All`, json, '{}'));
    expect((await lab.kubectl(attempt, 'get', 'configmap', 'kept')).stderr).toContain('not found');
    expect(real[0]?.params).not.toHaveProperty('dryRun');
    expect(real[0]?.content).toBe(`delete configmaps ${TARGET}/kept`);
  });

  it('records who reads Secrets, and keeps their contents out of the log', async () => {
    const entries = await recorded(async () => {
      await lab.kubectl(attempt, 'create', 'secret', 'generic', 'pass', '--from-literal=word=Sesame-open-4711');
      expect((await lab.kubectl(attempt, 'get', 'secret', 'pass', '-o', 'jsonpath={.data.word}')).stdout).not.toBe('');
    });
    expect(entries.map((entry) => entry.content)).toContain(`get secrets ${TARGET}/pass`);
    const texts = await Promise.all(
      entries.map(async (entry) => JSON.stringify(entry) + (await lab.gateway.log.blob(entry.blobDigest ?? ''))),
    );
    const encoded = Buffer.from('Sesame-open-4711').toString('base64');
    expect(texts.join('')).not.toContain(encoded);
  });

  it('does not let a caller impersonate anyone', async () => {
    const review = JSON.stringify({ kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1' });
    const whoami = await bare(
      'POST',
      '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      {
        'content-type': 'application/json',
        'impersonate-user': 'admin',
        'impersonate-group': 'system:masters',
        'x-remote-user': 'admin',
      },
      review,
    );
    expect(JSON.parse(whoami.text).status.userInfo).toMatchObject({
      username: expect.stringContaining(attempt.podName),
    });
    expect(whoami.text).not.toContain('system:masters');
  });

  it('refuses bodies that it could not show: binary and compressed ones', async () => {
    const path = `/api/v1/namespaces/${TARGET}/configmaps`;
    const binary = await bare('POST', path, { 'content-type': 'application/cbor' }, 'x');
    expect([binary.status, binary.text]).toEqual([400, expect.stringContaining('cannot be recorded')]);
    expect(
      (await bare('POST', path, { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'x')).status,
    ).toBe(400);
    expect(
      (await bare('POST', path, { 'content-type': 'application/json' }, `"${'x'.repeat(3 * 1024 * 1024)}"`)).status,
    ).toBe(413);
  });

  it('records an exec as a connection with its command, whatever its result', async () => {
    await lab.kubectl(attempt, 'run', 'idle', '--image=none');
    const entries = await recorded(async () => {
      const run = await lab.kubectl(attempt, 'exec', 'idle', '--', 'rm', '-rf', '/data');
      expect(run.stderr).toContain('does not have a host assigned');
    });
    expect(entries[0]?.content).toBe(`exec pods/exec ${TARGET}/idle: rm -rf /data`);
    expect(entries[0]?.params).toMatchObject({ verb: 'connect', protocol: 'websocket' });
    expect(entries[1]).toMatchObject({ kind: 'kube_outcome' });
    expect(entries[1]?.params).toMatchObject({ status: 400 });
  });

  it('refuses the agent’s token, and a request without a token', async () => {
    const { status } = await bare('GET', '/api/v1/pods', { authorization: `Bearer ${attempt.agentToken}` });
    expect(status).toBe(401);
    expect((await bare('GET', '/api/v1/pods', { authorization: '' })).status).toBe(401);
  });

  it('limits what one session sends a second, and kubectl waits and succeeds', async () => {
    const [greedy, other] = [await lab.open('greedy'), await lab.open('other')];
    const body = ' '.repeat(2_900_000);
    const json = { 'content-type': 'application/json' };
    const send = () => lab.kube(greedy, 'POST', '/api/v1/namespaces/kube-system/configmaps', json, body);
    const statuses: number[] = [];
    for (let sent = 0; sent < 20 && statuses.at(-1) !== 429; sent += 1) {
      statuses.push(
        await send().then(
          ({ status }) => status,
          () => 429,
        ),
      );
    }
    expect(statuses.at(-1)).toBe(429);
    const began = performance.now();
    const waiting = lab.kubectl(greedy, 'create', 'configmap', 'waited').then(({ code, stderr }) => [code, stderr]);
    expect((await lab.kubectl(other, 'create', 'configmap', 'unharmed')).code).toBe(0);
    expect(await waiting).toEqual([0, '']);
    expect(performance.now() - began).toBeLessThan(15_000);
  });

  it('streams a watch, and cuts it within a second when the attempt ends', async () => {
    const other = await lab.open('watched');
    const kubeconfig = await lab.kubeconfig(other);
    const watch = spawn(lab.kubectlBinary, ['--kubeconfig', kubeconfig, 'get', 'configmaps', '-w', '-o', 'name']);
    let output = '';
    watch.stdout.on('data', (chunk) => {
      output += chunk;
    });
    const ended = new Promise<number>((resolve) => watch.once('exit', () => resolve(performance.now())));
    await sleep(500);
    await lab.kubectl(other, 'create', 'configmap', 'seen');
    await eventually(() => (output.includes('configmap/seen') ? true : undefined));
    const attempts = (await lab.incident('watched')).status?.attempts ?? [];
    await lab.setStatus('watched', {
      attempts: [{ ...attempts[0], endTime: new Date().toISOString(), reason: 'Interrupted' }],
    });
    const cutAt = performance.now();
    expect((await ended) - cutAt).toBeLessThan(1500);
    const after = await lab.kubectl(other, 'get', 'configmaps');
    expect(after.stderr).toContain('OPLAB_NO_LEASE: attempt 1 has ended');
  });

  it('closes with the Incident: after a deletion it forwards nothing', async () => {
    const other = await lab.open('deleted');
    expect((await lab.kubectl(other, 'get', 'pods')).code).toBe(0);
    await lab.client.delete(INCIDENTS, { name: 'deleted', namespace: TARGET });
    await eventually(
      async () => ((await lab.kubectl(other, 'get', 'pods')).stderr.includes('OPLAB_NO_LEASE') ? true : undefined),
      { withinMs: 3000 },
    );
    const head = await eventually(async () => {
      const now = await lab.gateway.log.head(other.session);
      return now?.sealed ? now : undefined;
    });
    expect(head.entries).toBeGreaterThan(0);
  });
});
