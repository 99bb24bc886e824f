// Reads the body of an upgrade request, which Node leaves on the socket.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { InvalidInput, TooLarge } from '../../../errors.ts';

/** How long to wait for an announced body, in milliseconds. */
const BODY_MS = 15_000;

/**
 * Reads the body of an upgrade request from the socket. `rest` is the data after it.
 * @param reserve called with the length of the body before it is kept in memory
 * @throws InvalidInput, TooLarge
 */
export async function takeBody(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  limit: number,
  reserve: (bytes: number) => void,
): Promise<{ body: Buffer; rest: Buffer }> {
  if (request.headers['transfer-encoding'] !== undefined) {
    throw new InvalidInput('an upgrade request must have a Content-Length instead of a Transfer-Encoding');
  }
  const announced = request.headers['content-length'] ?? '0';
  if (!/^[0-9]{1,9}$/.test(announced)) throw new InvalidInput('the Content-Length is not a valid number of bytes');
  const length = Number(announced);
  if (length > limit) throw new TooLarge(`the body has ${length} bytes; the limit is ${limit}`);
  reserve(length);
  const chunks = [head];
  let size = head.length;
  const until = Date.now() + BODY_MS;
  while (size < length) {
    const chunk = await nextChunk(socket, until - Date.now());
    chunks.push(chunk);
    size += chunk.length;
  }
  const all = Buffer.concat(chunks);
  return { body: all.subarray(0, length), rest: all.subarray(length) };
}

function nextChunk(socket: Duplex, ms: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.off('data', data);
      socket.off('end', gone);
      socket.off('close', gone);
      socket.pause();
      settle();
    };
    const data = (chunk: Buffer) => finish(() => resolve(chunk));
    const gone = () => finish(() => reject(new InvalidInput('the body was cut off')));
    const timer = setTimeout(gone, Math.max(0, ms));
    socket.on('data', data);
    socket.once('end', gone);
    socket.once('close', gone);
    socket.resume();
  });
}
