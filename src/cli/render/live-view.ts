// Prints a session live: its entries and, between them, the output of the running command.

import { withoutControls } from '../../audit/controls.ts';
import { clock } from '../format.ts';
import type { Output } from '../output.ts';
import type { FollowEvent } from '../reader/audit-reader.ts';
import { renderEntry } from './entry.ts';

/** The maximum number of live output lines per command. The log has the complete output. */
const MAX_LIVE_LINES = 200;

export class LiveView {
  readonly #output: Output;
  /** The beginning of a line that the command has not finished yet. */
  #partial = '';
  #lines = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  show(event: FollowEvent): void {
    const { colors, width } = this.#output;
    switch (event.type) {
      case 'live':
        this.#live(event.chunk.text);
        return;
      case 'waiting':
        this.flush();
        this.#output.note(`waiting: ${event.reason}`);
        return;
      case 'sealed':
        this.flush();
        return;
      case 'entry':
        this.flush();
        if (event.entry.kind === 'tool_call') this.#lines = 0;
        for (const line of renderEntry(event.entry, { colors, width })) this.#output.line(line);
    }
  }

  /** Prints the Incident's state, aligned with the entries. */
  remark(text: string): void {
    this.flush();
    const { colors } = this.#output;
    this.#output.line(
      `      ${colors.dim(clock(new Date().toISOString()))}  ${colors.dim('incident ')} ${withoutControls(text)}`,
    );
  }

  /** Prints an unfinished line. */
  flush(): void {
    if (this.#partial !== '') this.#print(this.#partial);
    this.#partial = '';
  }

  #live(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#print(line);
  }

  #print(line: string): void {
    this.#lines += 1;
    if (this.#lines > MAX_LIVE_LINES + 1) return;
    const { colors } = this.#output;
    const shown =
      this.#lines > MAX_LIVE_LINES
        ? colors.dim('(more output omitted; to show all: oplab audit show --full)')
        : withoutControls(line);
    this.#output.line(`      ${colors.dim('|')} ${shown}`);
  }
}
