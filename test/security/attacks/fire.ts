// Sends many raw requests from the sandbox with one command, and reads what they were answered.

import { gzipSync } from 'node:zlib';

/** Runs in the sandbox. Four at a time, because the door admits a few requests at once. */
const PROGRAM = `
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { gunzipSync } from 'node:zlib';
const config = readFileSync(process.env.KUBECONFIG ?? process.env.HOME + '/.kube/config', 'utf8');
const of = (key) => new RegExp(key + ': (.*)').exec(config)[1];
const { hostname, port } = new URL(of('server'));
const token = readFileSync(of('tokenFile'), 'utf8');
const ca = readFileSync(of('certificate-authority'));
const attacks = JSON.parse(gunzipSync(Buffer.from(readFileSync(0, 'utf8'), 'base64')));
const fire = (raw) => new Promise((resolve) => {
  let answer = '';
  let idle;
  const socket = connect({ host: hostname, port: Number(port), servername: hostname, ca });
  const end = () => { clearTimeout(idle); socket.destroy(); resolve([...answer.matchAll(/HTTP\\/1\\.[01] (\\d+)/g)].map((m) => m[1]).join(',') || 'closed'); };
  const wait = (ms) => { clearTimeout(idle); idle = setTimeout(end, ms); };
  wait(5000);
  socket.on('secureConnect', () => socket.write(Buffer.from(raw.replaceAll('@TOKEN@', token), 'latin1')));
  socket.on('data', (chunk) => { if (answer.length < 1e6) answer += chunk.toString('latin1'); wait(800); });
  socket.on('end', end);
  socket.on('error', end);
});
const lane = async () => { for (let next = attacks.shift(); next; next = attacks.shift()) console.log('@@ ' + next.id + ' ' + await fire(next.raw)); };
await Promise.all([lane(), lane(), lane(), lane()]);
`;

/** The command that sends the requests and prints the status codes of the answers to each. */
export function fireCommand(requests: readonly { readonly id: string; readonly raw: Buffer }[]): string {
  const list = requests.map(({ id, raw }) => ({ id, raw: raw.toString('latin1') }));
  const packed = gzipSync(JSON.stringify(list)).toString('base64');
  return `cat > $HOME/fire.mjs <<'FIRE'${PROGRAM}FIRE\nnode $HOME/fire.mjs <<'LIST'\n${packed}\nLIST`;
}

/** The status codes by the name of the request; `closed` where there was none. */
export function readShots(printed: string): Map<string, string> {
  return new Map([...printed.matchAll(/@@ (\S+) ([\d,]+|closed)/g)].map(([, id = '', answer = '']) => [id, answer]));
}
