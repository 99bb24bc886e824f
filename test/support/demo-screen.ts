// A program for tests that shows chapters above the live screen, as the demo does: demo-screen.ts
// KUBECONFIG GATEWAY NAMESPACE

import { setTimeout as sleep } from 'node:timers/promises';
import { CHAPTERS, tellOnScreen } from '../../lab/index.ts';

const [kubeconfig = '', gateway = '', namespace = ''] = process.argv.slice(2);
const teller = await tellOnScreen({ kubeconfig, gateway, namespace }, new AbortController().signal);
for (const name of CHAPTERS) {
  teller.chapter(name, `this is ${name}`);
  await teller.step('something is done', 1, async (note) => {
    for (let count = 1; count <= 20; count += 1) {
      note(`${count} of 20`);
      await sleep(100);
    }
  });
}
await teller.end('all is well');
console.log('the demo has ended');
