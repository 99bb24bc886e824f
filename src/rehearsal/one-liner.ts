// The rehearsal model as the small model: a deterministic one-line summary of a text.

import { listBlocks, type Message } from '../messages-double/request.ts';

const MAX = 160;

/** The first line, the last line and the number of lines, without any understanding of the text. */
export function oneLiner(messages: readonly Message[]): string {
  const last = messages.at(-1);
  const text = (last === undefined ? [] : listBlocks(last))
    .flatMap((block) => ('text' in block && typeof block.text === 'string' ? [block.text] : []))
    .join('\n');
  const result = /\nResult:\n([\s\S]*)$/.exec(text)?.[1] ?? text;
  const lines = result
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('--- '));
  const end = /^exit code \d+/.exec(lines[0] ?? '')?.[0];
  const printed = end === undefined ? lines : lines.slice(1);
  const [first = 'no output'] = printed;
  const final = printed.length > 1 ? ` … ${printed.at(-1)}` : '';
  const head = [end, `${printed.length} ${printed.length === 1 ? 'line' : 'lines'}`]
    .filter((it) => it !== undefined)
    .join(', ');
  return `${head}: ${first}${final}`.replaceAll(/\s+/g, ' ').slice(0, MAX);
}
