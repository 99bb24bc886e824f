// The command `oplab session post-mortem`.

import type { Command } from 'commander';
import * as z from 'zod';
import { verifyExport } from '../../audit/export.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { postMortem } from '../render/post-mortem.ts';
import { loadExports } from '../session-source.ts';

const flags = connectionFlags.extend({ file: z.string().optional() });

/** Prints a session as a Markdown post-mortem. @throws NotFound */
export async function printPostMortem(environment: Environment, command: Command, text: string): Promise<void> {
  for await (const exported of loadExports(environment, parseFlags(command, flags), text)) {
    environment.output.write(postMortem(exported, verifyExport(exported)));
  }
}
