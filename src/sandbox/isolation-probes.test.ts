// Isolation probes: waited for, made in the right order, and reported.

import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { InvalidInput } from '../errors.ts';
import { type IsolationAddress, isolationAddresses, probeIsolation, tryConnect } from './isolation-probes.ts';

const addresses = isolationAddresses({
  apiServerHost: '10.0.0.1',
  apiServerPort: 443,
  hostIP: '192.0.2.1',
  extra: 'dns=10.0.0.2:53, v6=[fd00::1]:443',
});

/** A network whose clock moves only while the prober sleeps. */
function fakeNetwork(open: (address: IsolationAddress, now: number) => boolean) {
  let now = 0;
  const probed: string[] = [];
  return {
    probed,
    ports: {
      now: () => now,
      sleep: async (ms: number) => {
        now += ms;
      },
      connect: async (address: IsolationAddress) => {
        probed.push(address.name);
        return { open: open(address, now), detail: '' };
      },
    },
  };
}

describe('isolation probes', () => {
  it('are tried at the API server first, then at the rest', async () => {
    const { ports, probed } = fakeNetwork(() => false);
    const report = await probeIsolation(addresses, ports);
    expect(probed).toEqual(['api-server', 'kubelet', 'metadata', 'dns', 'v6']);
    expect(report).toMatchObject({ closed: true, waitedMs: 0 });
    expect(report.probes.at(-1)?.address).toBe('fd00::1:443');
  });

  it('are waited for while a policy lags', async () => {
    const { ports, probed } = fakeNetwork((address, now) => address.name === 'api-server' && now < 1500);
    const report = await probeIsolation(addresses, ports);
    expect(report.closed).toBe(true);
    expect(report.waitedMs).toBeGreaterThanOrEqual(1500);
    expect(probed.filter((name) => name === 'api-server')).toHaveLength(9);
  });

  it('are open when the API server stays open for thirty seconds, and then nothing else is tried', async () => {
    const { ports, probed } = fakeNetwork((address) => address.name === 'api-server');
    const report = await probeIsolation(addresses, ports);
    expect(report.closed).toBe(false);
    expect(new Set(probed)).toEqual(new Set(['api-server']));
    expect(report.waitedMs).toBeGreaterThanOrEqual(30_000);
  });

  it('are open when metadata or an extra address is', async () => {
    for (const name of ['metadata', 'dns']) {
      const report = await probeIsolation(addresses, fakeNetwork((address) => address.name === name).ports);
      expect(report.closed).toBe(false);
      expect(report.probes.find((probe) => probe.name === name)?.open).toBe(true);
    }
  });

  it("report the node's own kubelet without counting it", async () => {
    const report = await probeIsolation(addresses, fakeNetwork((address) => address.name === 'kubelet').ports);
    expect(report.closed).toBe(true);
    expect(report.probes.find((probe) => probe.name === 'kubelet')).toMatchObject({ open: true });
  });

  it('count as open where the address of the API server is unknown', async () => {
    const unknown = isolationAddresses({ apiServerHost: undefined, apiServerPort: 443, hostIP: undefined, extra: '' });
    expect((await probeIsolation(unknown, fakeNetwork(() => false).ports)).closed).toBe(false);
  });

  it('refuse an extra address that is malformed', () => {
    expect(() =>
      isolationAddresses({ apiServerHost: 'x', apiServerPort: 1, hostIP: undefined, extra: 'nonsense' }),
    ).toThrow(InvalidInput);
  });

  it('are tried with a real connection', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect((await tryConnect({ name: 'x', host: '127.0.0.1', port })).open).toBe(true);
    await new Promise((resolve) => server.close(resolve));
    expect(await tryConnect({ name: 'x', host: '127.0.0.1', port })).toEqual({ open: false, detail: 'ECONNREFUSED' });
  });
});
