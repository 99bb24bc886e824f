// Alerts go through the real Alertmanager (and a real Prometheus) and become Incidents in a real
// API server.

import { writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import * as z from 'zod';
import { IncidentOpener } from '../../src/controller/alarm/incident-opener.ts';
import { KubeError } from '../../src/kube/errors.ts';
import { type Daemon, postAlerts, startAlertmanager, startPrometheus } from '../support/alerting.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { IncidentProbe } from '../support/incident-probe.ts';
import { incidentsIn, startIntakeHarness, tokenOf } from '../support/intake-harness.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { startController } from '../support/running-controller.ts';

let server: ApiServer;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  server = await startApiServer();
}, 300_000);
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});
afterAll(() => server?.stop());

const ROUTE = {
  name: 'team',
  namespace: '{{ $labels.namespace }}',
  namespaces: ['groups', 'tokens', 'unreachable', 'query'],
  prometheus: { service: 'prometheus' },
};
const ago = (seconds: number) => new Date(Date.now() - seconds * 1000);

async function namespace(name: string): Promise<string> {
  await server.client.create(NAMESPACES, { metadata: { name } });
  return name;
}

/** An intake and an Alertmanager that sends to it. Both are stopped when the test ends. */
async function alerting(options: Parameters<typeof startIntakeHarness>[2] = {}, shownToken = tokenOf(ROUTE.name)) {
  const intake = await startIntakeHarness(server, [ROUTE], options);
  stops.push(() => intake.stop());
  const alertmanager = await startAlertmanager({
    url: `${intake.url}/alertmanager/${ROUTE.name}`,
    http_config: { authorization: { type: 'Bearer', credentials: shownToken } },
  });
  stops.push(() => alertmanager.stop());
  onTestFailed(() => console.log(alertmanager.log()));
  return { intake, alertmanager };
}

describe('Alertmanager', () => {
  it('opens an Incident for each alert of a group, counts repetitions on it, and records when the alert is over', async () => {
    const home = await namespace('groups');
    const { intake, alertmanager } = await alerting();
    const startsAt = ago(60);
    const alert = (store: string) => ({
      labels: { alertname: 'StoreDown', namespace: home, store, severity: 'critical' },
      annotations: { summary: `store ${store} is down` },
      startsAt,
    });
    await postAlerts(alertmanager, [alert('1'), alert('2'), alert('3')]);
    const opened = await eventually(async () => {
      const found = await incidentsIn(server.client, home);
      return found.length >= 3 && found.every(({ status }) => status?.alarm !== undefined) ? found : undefined;
    });
    expect(opened.map(({ spec }) => spec.summary).sort()).toEqual([1, 2, 3].map((store) => `store ${store} is down`));
    for (const { spec, metadata, status } of opened) {
      expect(metadata.name).toMatch(/^team-storedown-[0-9a-f]{8}$/);
      expect(spec).toMatchObject({ severity: 'critical', source: { kind: 'Alertmanager', name: 'team/StoreDown' } });
      expect(spec.source?.startTime).toBe(startsAt.toISOString());
      expect(status?.alarm?.state).toBe('Firing');
    }
    // Alertmanager repeats alerts that still fire every second here. That must not open a new
    // Incident.
    const seen = await eventually(async () => {
      const found = await incidentsIn(server.client, home);
      return found.every(({ status }) => (status?.alarm?.occurrences ?? 0) >= 3) ? found : undefined;
    });
    expect(seen).toHaveLength(3);

    const endsAt = new Date();
    await postAlerts(alertmanager, [{ ...alert('2'), endsAt }]);
    const cleared = await eventually(async () => {
      const found = await incidentsIn(server.client, home);
      return found.find(({ status }) => status?.alarm?.state === 'Cleared');
    });
    expect(cleared.spec.alertLabels?.store).toBe('2');
    expect(Date.parse(cleared.status?.alarm?.clearedTime ?? '')).toBe(endsAt.getTime());
    const after = await incidentsIn(server.client, home);
    expect(after.filter(({ status }) => status?.alarm?.state === 'Firing')).toHaveLength(2);
    expect(await intake.metric('oplab_intake_alerts_total')).toContainEqual(
      expect.stringMatching(/result="opened".* 3$/),
    );
  });

  it('with the wrong token opens nothing, until the Secret contains that token, too', async () => {
    const home = await namespace('tokens');
    const { intake, alertmanager } = await alerting({}, 'the-next-token');
    await postAlerts(alertmanager, [{ labels: { alertname: 'X', namespace: home }, startsAt: ago(5) }]);
    await eventually(async () =>
      (await intake.metric('oplab_intake_request_seconds_count')).some((line) => line.includes('status="401"')),
    );
    expect(await incidentsIn(server.client, home)).toEqual([]);
    await writeFile(intake.tokenFile(ROUTE.name), `${tokenOf(ROUTE.name)}\nthe-next-token\n`);
    await eventually(async () => (await incidentsIn(server.client, home)).length === 1);
  });

  it('loses nothing while the API server cannot be reached: it is asked to send again, and does', async () => {
    const home = await namespace('unreachable');
    let failures = 3;
    const { intake, alertmanager } = await alerting({
      opener: (client) => {
        const opener = new IncidentOpener({ client, now: () => new Date(), record: () => {} });
        return {
          raise: (alarm) => {
            failures -= 1;
            return failures >= 0
              ? Promise.reject(new KubeError(0, 'Unreachable', 'POST: cannot be reached'))
              : opener.raise(alarm);
          },
          clear: (end) => opener.clear(end),
        };
      },
    });
    await postAlerts(alertmanager, [{ labels: { alertname: 'X', namespace: home }, startsAt: ago(5) }]);
    await eventually(async () => (await incidentsIn(server.client, home)).length === 1);
    expect(await intake.metric('oplab_intake_request_seconds_count')).toContainEqual(
      expect.stringMatching(/status="503".* 3$/),
    );
  });

  it('is asked for the alert by a query that finds it, although Prometheus adds labels on the way', async () => {
    const home = await namespace('query');
    const { alertmanager } = await alerting();
    const prometheus = await startPrometheus({
      alertmanager: alertmanager.url,
      externalLabels: { cluster: 'blue', replica: 'a' },
      rules: [{ alert: 'Down', expr: 'vector(1)', labels: { namespace: home, path: 'C:\\*.x' } }],
    });
    stops.push(() => prometheus.stop());
    onTestFailed(() => console.log(prometheus.log()));
    const [incident] = await eventually(async () => {
      const found = await incidentsIn(server.client, home);
      return found.length > 0 ? found : undefined;
    });
    expect(incident?.spec.alertLabels).toMatchObject({ cluster: 'blue', replica: 'a', path: 'C:\\*.x' });
    const query = incident?.spec.verify.checks[0]?.prometheus?.query ?? '';
    expect(query).toContain('cluster');
    expect(await samples(prometheus, query)).toHaveLength(1);
    // The query must not match another alert of the same name.
    expect(await samples(prometheus, query.replace(home, 'elsewhere'))).toHaveLength(0);
  });
});

async function samples(prometheus: Daemon, query: string): Promise<unknown[]> {
  const answer = await fetch(`${prometheus.url}/api/v1/query?${new URLSearchParams({ query })}`);
  return z.object({ data: z.object({ result: z.array(z.unknown()) }) }).parse(await answer.json()).data.result;
}

describe('the generic webhook', () => {
  const CHECK = { name: 'patient', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } };
  const post = (url: string, body: object, route = 'hook', token = tokenOf(route)) =>
    fetch(`${url}/webhook/${route}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });

  it('closes an Incident without an agent, opens nothing for a late delivery, and opens one for a new episode', async () => {
    const home = await namespace('webhook');
    const intake = await startIntakeHarness(server, [{ name: 'hook', namespace: home, verify: { checks: [CHECK] } }]);
    stops.push(() => intake.stop());
    const begin = { fingerprint: 'f', summary: 'the disk is full', startsAt: ago(300), labels: { host: 'a' } };
    expect((await post(intake.url, begin)).status).toBe(200);
    expect((await post(intake.url, { fingerprint: 'f', status: 'resolved', endsAt: ago(200) })).status).toBe(200);
    const controller = await startController(server);
    stops.push(() => controller.stop());
    onTestFailed(() => console.log(controller.log.lines.join('\n')));
    const [opened] = await incidentsIn(server.client, home);
    const probe = new IncidentProbe(server.client, home, opened?.metadata.name ?? '');
    await probe.seal();
    const closed = await probe.finished();
    expect(closed.status?.phase).toBe('Resolved');
    expect(closed.status?.attempts ?? []).toEqual([]);
    expect((await post(intake.url, begin)).status).toBe(200);
    expect(await incidentsIn(server.client, home)).toHaveLength(1);
    expect((await post(intake.url, { ...begin, startsAt: ago(100) })).status).toBe(200);
    const all = await incidentsIn(server.client, home);
    expect(all.map(({ metadata }) => metadata.name)).toEqual([...new Set(all.map(({ metadata }) => metadata.name))]);
    expect(all).toHaveLength(2);
  });

  it('leaves alone what another route opened, and what a label outside of its namespaces names', async () => {
    const [home, other] = [await namespace('bound-a'), await namespace('bound-b')];
    const intake = await startIntakeHarness(server, [
      { name: 'a', namespace: '{{ $labels.namespace }}', namespaces: [home], verify: { checks: [CHECK] } },
      { name: 'b', namespace: '{{ $labels.namespace }}', namespaces: [home, other], verify: { checks: [CHECK] } },
    ]);
    stops.push(() => intake.stop());
    const alert = (labels: object) => ({ fingerprint: 'f', summary: 'it is down', startsAt: ago(300), labels });
    const end = { status: 'resolved', endsAt: ago(100) };
    const firing = async () => (await incidentsIn(server.client, home)).map(({ status }) => status?.alarm?.state);

    expect((await post(intake.url, alert({ namespace: other }), 'a')).status).toBe(422);
    expect((await post(intake.url, alert({ namespace: home }), 'b', tokenOf('a'))).status).toBe(401);
    expect(await incidentsIn(server.client, other)).toEqual([]);
    expect((await post(intake.url, alert({ namespace: home }), 'a')).status).toBe(200);
    expect((await post(intake.url, { ...alert({ namespace: home }), ...end }, 'b')).status).toBe(200);
    expect(await firing()).toEqual(['Firing']);
    expect((await post(intake.url, { ...alert({ namespace: home }), ...end }, 'a')).status).toBe(200);
    expect(await firing()).toEqual(['Cleared']);
  });

  it('names the namespace that does not exist, and does not ask to send again', async () => {
    const intake = await startIntakeHarness(server, [
      { name: 'hook', namespace: 'not-there', verify: { checks: [CHECK] } },
    ]);
    stops.push(() => intake.stop());
    const answer = await post(intake.url, { summary: 'the disk is full' });
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({
      error: { code: 'OPLAB_ALERT_REFUSED', message: expect.stringContaining('not-there') },
    });
  });
});
