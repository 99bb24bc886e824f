// The thread of the writer of the log.

import { parentPort, workerData } from 'node:worker_threads';
import type { StoreOptions } from './store-protocol.ts';
import { StoreWriter } from './store-writer.ts';

if (parentPort !== null) {
  const options: StoreOptions = workerData;
  new StoreWriter(parentPort, options).start();
}
