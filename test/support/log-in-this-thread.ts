// For tests that only need a log: its writer in the thread of the test. To start a thread takes more of a
// processor than most of these tests do. Tests of the log itself open it as the gateway does.

import { EventEmitter } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { type AuditStore, type OpenOptions, openAuditLog } from '../../src/audit/store.ts';
import type { StartThread } from '../../src/audit/store-connection.ts';
import { StoreWriter } from '../../src/audit/store-writer.ts';

const startInThisThread: StartThread = (options) => {
  const { port1, port2 } = new MessageChannel();
  const events = new EventEmitter();
  port1.on('message', (message) => events.emit('message', message));
  port1.on('close', () => events.emit('exit'));
  new StoreWriter(port2, options).start();
  return Object.assign(events, { postMessage: (message: unknown) => port1.postMessage(message) });
};

/** Opens a log, whose messages are copied as between threads. */
export function openLogInThisThread(options: OpenOptions): Promise<AuditStore> {
  return openAuditLog({ ...options, startThread: startInThisThread });
}
