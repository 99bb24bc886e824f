// An HTTP response on a bare socket, such as that of a request to upgrade, where Node writes none.

import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * The status line and headers, up to the empty line. Headers were parsed by Node or are ours: no
 * line breaks in them.
 */
export function formatResponseHead(status: number, message: string, headers: OutgoingHttpHeaders): string {
  const lines = [`HTTP/1.1 ${status} ${message}`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/**
 * Writes a whole response, with which the connection ends. Does nothing on a socket that is already
 * ended.
 */
export function endWithResponse(socket: Duplex, status: number, headers: OutgoingHttpHeaders, body: Buffer): void {
  if (socket.destroyed || socket.writableEnded) return;
  const head = formatResponseHead(status, '', { ...headers, 'content-length': body.length, connection: 'close' });
  socket.end(Buffer.concat([Buffer.from(head), body]));
}
