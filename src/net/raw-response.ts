// Writes an HTTP response to a socket where Node does not, such as after a request to upgrade.

import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * The status line and headers, up to the empty line. Node parsed the headers or we wrote them, so
 * they contain no line breaks.
 */
export function formatResponseHead(status: number, message: string, headers: OutgoingHttpHeaders): string {
  const lines = [`HTTP/1.1 ${status} ${message}`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/**
 * Writes a whole response and ends the connection. Does nothing on a socket that has already ended.
 */
export function endWithResponse(socket: Duplex, status: number, headers: OutgoingHttpHeaders, body: Buffer): void {
  if (socket.destroyed || socket.writableEnded) return;
  const head = formatResponseHead(status, '', { ...headers, 'content-length': body.length, connection: 'close' });
  socket.end(Buffer.concat([Buffer.from(head), body]));
}
