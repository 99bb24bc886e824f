// The thread that redacts long entries, so that their texts delay neither the writer nor the doors.

import { parentPort, workerData } from 'node:worker_threads';
import { errorMessage } from '../errors.ts';
import { prepare } from './prepare-append.ts';
import type { PrepareOptions, PrepareReply, PrepareRequest } from './prepare-thread.ts';
import { RawDigester } from './raw-digest.ts';
import { Redactor } from './redaction.ts';

if (parentPort !== null) {
  const port = parentPort;
  const { literals, digestKey, blobCapBytes }: PrepareOptions = workerData;
  const redactor = new Redactor(literals);
  const digester = new RawDigester(digestKey);
  port.on('message', (request: PrepareRequest) => {
    if (request.op === 'literal') {
      redactor.add(request.literal);
      return;
    }
    const { authorship, entry, seal } = request.args;
    let reply: PrepareReply;
    try {
      reply = { append: prepare(authorship, entry, seal, { redactor, digester, blobCapBytes }) };
    } catch (error) {
      reply = { error: errorMessage(error) };
    }
    port.postMessage(reply);
  });
  port.postMessage('ready' satisfies PrepareReply);
}
