// Attacks on the record by hanging up: the API server makes an object and its name, and the caller is
// gone before the answer that has the name.

import { configMap, configMaps, httpRequest, JSON_TYPE } from './request.ts';

export interface HangUp {
  readonly name: string;
  /** Of its objects, and its name in the audit log. */
  readonly prefix: string;
  /** When the caller goes, in milliseconds after it has sent the request. */
  readonly afterMs: number;
  readonly resets: boolean;
}

const TIMES = [0, 1, 3, 10, 30, 100];
/** Requests of each attack. */
const EACH = 3;

export const hangUps: readonly HangUp[] = TIMES.flatMap((afterMs, index) =>
  [false, true].map((resets) => ({
    name: `${resets ? 'reset' : 'close'} the connection ${afterMs} ms after a write`,
    prefix: `hang-up-${index}${resets ? 'r' : 'c'}-`,
    afterMs,
    resets,
  })),
);

/** Runs in the sandbox. One request after another, so that each is alone with its caller. */
const PROGRAM = `
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
const config = readFileSync(process.env.KUBECONFIG ?? process.env.HOME + '/.kube/config', 'utf8');
const of = (key) => new RegExp(key + ': (.*)').exec(config)[1];
const { hostname, port } = new URL(of('server'));
const token = readFileSync(of('tokenFile'), 'utf8');
const ca = readFileSync(of('certificate-authority'));
let sent = 0;
for (const { raw, afterMs, resets } of JSON.parse(readFileSync(0, 'utf8'))) {
  const socket = connect({ host: hostname, port: Number(port), servername: hostname, ca });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  await new Promise((resolve) => socket.write(raw.replaceAll('@TOKEN@', token), resolve));
  sent += 1;
  if (afterMs > 0) await sleep(afterMs);
  if (resets) socket.resetAndDestroy(); else socket.destroy();
}
await sleep(2000);
console.log('hung up ' + sent + ' times');
`;

/** The command that makes all of them. */
export function hangUpCommand(namespace: string): string {
  const list = hangUps.flatMap(({ prefix, afterMs, resets }) =>
    Array.from({ length: EACH }, () => ({
      raw: httpRequest(prefix, {
        method: 'POST',
        path: configMaps(namespace),
        headers: JSON_TYPE,
        body: configMap('x', { metadata: { generateName: prefix } }),
      }).toString('latin1'),
      afterMs,
      resets,
    })),
  );
  return `cat > $HOME/hang-up.mjs <<'PROGRAM'${PROGRAM}PROGRAM\nnode $HOME/hang-up.mjs <<'LIST'\n${JSON.stringify(list)}\nLIST`;
}

/** How many requests the command has sent, as it printed it. */
export const HUNG_UP = `hung up ${hangUps.length * EACH} times`;
