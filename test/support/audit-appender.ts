// A child process for the fault tests: appends to a log and prints the result of every entry on one
// line of stdout.
//
// Arguments: the file, a prefix for the client keys, how many entries, how many at once. Output:
// `ack KEY SEQ`, `rejected KEY CODE`.

import { writeSync } from 'node:fs';
import { openAuditLog } from '../../src/audit/store.ts';
import { OplabError } from '../../src/errors.ts';

const [file = '', prefix = '', count = '1', width = '1'] = process.argv.slice(2);
const authorship = { session: 'crash-test', attempt: 1, writer: 'agent' } as const;

let next = 0;
try {
  const log = await openAuditLog({ path: file, busyTimeoutMs: 3000 });
  writeSync(1, 'open\n');
  const worker = async () => {
    while (next < Number(count)) {
      const key = `${prefix}-${next++}`;
      try {
        const receipt = await log.append(authorship, { clientKey: key, kind: 'tool_call', content: `entry ${key}` });
        // Writes synchronously, so that the order of system calls is the order of events.
        writeSync(1, `ack ${key} ${receipt.seq}\n`);
      } catch (error) {
        writeSync(1, `rejected ${key} ${error instanceof OplabError ? error.code : 'OTHER'}\n`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  };
  await Promise.all(Array.from({ length: Number(width) }, worker));
  await log.close();
} catch (error) {
  writeSync(1, `failed ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
