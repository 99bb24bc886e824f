// `npm run demo:down`: deletes the demo's cluster. Caches and images stay for the next run.
//
// Examples:
//   npm run demo:down

import { down } from '../../hack/cluster/down.ts';
import { main } from '../../hack/progress.ts';

await main(async (signal) => {
  console.log((await down(signal)) ? 'The cluster of the demo is gone.' : 'There is no cluster of the demo.');
  return 0;
});
