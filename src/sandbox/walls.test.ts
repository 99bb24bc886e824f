// The sandbox's walls: waited for, tried in the right order, and reported.

import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { InvalidInput } from '../errors.ts';
import { knock, probeWalls, type WallAddress, wallAddresses } from './walls.ts';

const addresses = wallAddresses({
  apiServerHost: '10.0.0.1',
  apiServerPort: 443,
  hostIP: '192.0.2.1',
  extra: 'dns=10.0.0.2:53, v6=[fd00::1]:443',
});

/** A clock that only sleeping moves. */
function world(open: (address: WallAddress, now: number) => boolean) {
  let now = 0;
  const knocked: string[] = [];
  return {
    knocked,
    ports: {
      now: () => now,
      sleep: async (ms: number) => {
        now += ms;
      },
      knock: async (address: WallAddress) => {
        knocked.push(address.name);
        return { open: open(address, now), detail: '' };
      },
    },
  };
}

describe('walls', () => {
  it('are tried at the API server first, then at the rest', async () => {
    const { ports, knocked } = world(() => false);
    const report = await probeWalls(addresses, ports);
    expect(knocked).toEqual(['api-server', 'kubelet', 'metadata', 'dns', 'v6']);
    expect(report).toMatchObject({ closed: true, waitedMs: 0 });
    expect(report.probes.at(-1)?.address).toBe('fd00::1:443');
  });

  it('are waited for while a policy lags', async () => {
    const { ports, knocked } = world((address, now) => address.name === 'api-server' && now < 1500);
    const report = await probeWalls(addresses, ports);
    expect(report.closed).toBe(true);
    expect(report.waitedMs).toBeGreaterThanOrEqual(1500);
    expect(knocked.filter((name) => name === 'api-server')).toHaveLength(9);
  });

  it('are open when the API server stays open for thirty seconds, and then nothing else is tried', async () => {
    const { ports, knocked } = world((address) => address.name === 'api-server');
    const report = await probeWalls(addresses, ports);
    expect(report.closed).toBe(false);
    expect(new Set(knocked)).toEqual(new Set(['api-server']));
    expect(report.waitedMs).toBeGreaterThanOrEqual(30_000);
  });

  it('are open when metadata or an extra address is', async () => {
    for (const name of ['metadata', 'dns']) {
      const report = await probeWalls(addresses, world((address) => address.name === name).ports);
      expect(report.closed).toBe(false);
      expect(report.probes.find((probe) => probe.name === name)?.open).toBe(true);
    }
  });

  it("report the node's own kubelet without counting it", async () => {
    const report = await probeWalls(addresses, world((address) => address.name === 'kubelet').ports);
    expect(report.closed).toBe(true);
    expect(report.probes.find((probe) => probe.name === 'kubelet')).toMatchObject({ open: true });
  });

  it('count as open where the address of the API server is unknown', async () => {
    const unknown = wallAddresses({ apiServerHost: undefined, apiServerPort: 443, hostIP: undefined, extra: '' });
    expect((await probeWalls(unknown, world(() => false).ports)).closed).toBe(false);
  });

  it('refuse an extra address that is none', () => {
    expect(() => wallAddresses({ apiServerHost: 'x', apiServerPort: 1, hostIP: undefined, extra: 'nonsense' })).toThrow(
      InvalidInput,
    );
  });

  it('are tried with a real connection', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect((await knock({ name: 'x', host: '127.0.0.1', port })).open).toBe(true);
    await new Promise((resolve) => server.close(resolve));
    expect(await knock({ name: 'x', host: '127.0.0.1', port })).toEqual({ open: false, detail: 'ECONNREFUSED' });
  });
});
