// `npm run test:flood`: an audit volume of 64 MiB is attacked. Exit code 1 if an acknowledgement to another
// Incident took longer than a second, or if a door closed. Writes reports/flood.json.
//
//   --minutes MINUTES   how long (10)
//
// Examples:
//   npm run test:flood
//   npm run test:flood -- --minutes 0.5

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../../hack/cluster/names.ts';
import { main } from '../../hack/progress.ts';
import { InvalidInput, VerificationFailed } from '../../src/errors.ts';
import { runFlood } from './campaign.ts';

/** The longest time to an acknowledgement, in milliseconds. */
const LIMIT_MS = 1000;

async function flood(): Promise<number> {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 600)) {
    throw new InvalidInput(`--minutes ${values.minutes} is not a valid number of minutes; use a number up to 600`);
  }
  const report = await runFlood(minutes * 60_000);
  const file = path.join(root, 'reports/flood.json');
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(JSON.stringify(report, null, 2));
  const slow = report.acks.max > LIMIT_MS ? [`an acknowledgement took ${report.acks.max} ms`] : [];
  const faults = [...slow, ...report.refused, ...report.closed, ...(report.sound ? [] : ['the log does not verify'])];
  if (faults.length > 0) throw new VerificationFailed(`the flood was noticed: ${faults.slice(0, 5).join('; ')}`);
  return 0;
}

await main(flood);
