// Probes the isolation of the sandbox before the first command: addresses must be closed, and the
// container must have no more than the pod gives it.

import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NETWORK_PROBES, type NetworkProbeName } from '../api/isolation.ts';
import { InvalidInput } from '../errors.ts';
import type { IsolationReport } from './protocol.ts';

type Probe = IsolationReport['probes'][number];

/** An address to probe. An open advisory address is reported, but does not stop the attempt. */
export interface IsolationAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly advisory?: string;
}

/** The result of one attempt to connect. */
export interface ConnectResult {
  readonly open: boolean;
  readonly detail: string;
}

const RETRY_MS = 200;
const WAIT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 1000;

/** Tries to connect over TCP for a second. Refused, unreachable and silent addresses are closed. */
export function tryConnect(address: IsolationAddress): Promise<ConnectResult> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: address.host, port: address.port });
    const done = (open: boolean, detail: string) => {
      socket.destroy();
      resolve({ open, detail });
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => done(false, `no response within ${CONNECT_TIMEOUT_MS} ms`));
    socket.once('connect', () => done(true, 'connected'));
    socket.once('error', (error: NodeJS.ErrnoException) => done(false, error.code ?? error.message));
  });
}

/**
 * The addresses that this pod must not reach. The API server comes first.
 * @throws InvalidInput if an extra probe is not `name=host:port`
 */
export function isolationAddresses(environment: {
  readonly apiServerHost: string | undefined;
  readonly apiServerPort: number;
  readonly hostIP: string | undefined;
  /** `name=host:port`, separated by commas. */
  readonly extra: string;
}): IsolationAddress[] {
  const extra = environment.extra
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
    .map((item): IsolationAddress => {
      const [, name, host, port] = /^([\w.-]+)=\[?([^\]]+?)\]?:(\d{1,5})$/.exec(item) ?? [];
      if (name === undefined || host === undefined || port === undefined) {
        throw new InvalidInput(
          `OPLAB_ISOLATION_PROBES: "${item}" does not have the form name=host:port, for example dns=10.0.0.2:53`,
        );
      }
      return { name, host, port: Number(port) };
    });
  const { apiServerHost = '', apiServerPort, hostIP = '' } = environment;
  const own: Readonly<Record<NetworkProbeName, Omit<IsolationAddress, 'name'>>> = {
    'api-server': { host: apiServerHost, port: apiServerPort },
    kubelet: {
      host: hostIP,
      port: 10250,
      advisory:
        "NetworkPolicy does not guarantee to block a pod's own node; the kubelet does not accept the sandbox's tokens",
    },
    'kubelet-read-only': { host: hostIP, port: 10255 },
    metadata: { host: '169.254.169.254', port: 80 },
    'metadata-ipv6': { host: 'fd00:ec2::254', port: 80 },
    'other-namespace': { host: 'kube-dns.kube-system.svc', port: 9153 },
    internet: { host: '1.1.1.1', port: 443 },
    'internet-ipv6': { host: '2606:4700:4700::1111', port: 443 },
  };
  return [...Object.entries(own).map(([name, address]) => ({ name, ...address })), ...extra];
}

/**
 * Waits up to 30 s until the first address (the API server) is closed, because a network policy may
 * be enforced some time after the pod starts. Then probes the others, each until it is closed or
 * the same 30 s are over. With closed addresses, that takes two seconds.
 */
export async function probeIsolation(
  addresses: readonly IsolationAddress[],
  ports: {
    readonly connect?: (address: IsolationAddress) => Promise<ConnectResult>;
    readonly sleep?: (ms: number) => Promise<unknown>;
    readonly now?: () => number;
    /** Names of probes whose holes the class allows. They are made once, and do not stop anything. */
    readonly allowed?: readonly string[];
    readonly container?: () => Promise<Probe[]>;
  } = {},
): Promise<IsolationReport> {
  const now = ports.now ?? (() => performance.now());
  const wait = ports.sleep ?? ((ms: number) => sleep(ms));
  const connect = ports.connect ?? tryConnect;
  const { allowed = [], container = () => Promise.resolve([]) } = ports;
  const startedAt = now();

  const untilClosed = async (address: IsolationAddress): Promise<Probe> => {
    const isTolerated = address.advisory !== undefined || allowed.includes(address.name);
    const shown = {
      name: address.name,
      expected: `no connection to ${describeAddress(address.name)}`,
      address: `${address.host}:${address.port}`,
      allowed: isTolerated,
    };
    if (address.host === '') {
      return {
        ...shown,
        open: true,
        detail: 'the address is unknown, so it counts as open',
      };
    }
    for (;;) {
      const result = await connect(address);
      const mayRetry = !isTolerated && now() - startedAt < WAIT_MS;
      if (!result.open || !mayRetry) {
        const detail =
          result.open && address.advisory !== undefined ? `${result.detail}; ${address.advisory}` : result.detail;
        return { ...shown, open: result.open, detail };
      }
      await wait(RETRY_MS);
    }
  };

  const [first, ...others] = addresses;
  if (first === undefined) return { probes: [], closed: false, waitedMs: 0 };
  const ownProbes = (await container()).map((probe) => ({ ...probe, allowed: allowed.includes(probe.name) }));
  const probes = [await untilClosed(first)];
  // If the API server is open, no policy is enforced, and probing the others is pointless.
  const mayGoOn = probes.every((probe) => !probe.open || probe.allowed);
  if (mayGoOn) probes.push(...(await Promise.all(others.map(untilClosed))));
  probes.push(...ownProbes);
  const closed = probes.every((probe) => !probe.open || probe.allowed);
  return { probes, closed, waitedMs: Math.round(now() - startedAt) };
}

function describeAddress(name: string): string {
  return Object.entries(NETWORK_PROBES).find(([probe]) => probe === name)?.[1] ?? name;
}
