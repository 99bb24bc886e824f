// The signals of kill, stop and restart, and the time that these wait. Pure.

import { InvalidInput } from '../../../errors.ts';

const SIGNAL = /^[A-Za-z0-9+-]{1,16}$/;
const SECONDS = /^-?[0-9]{1,6}$/;
/** Programs end with these. To others, they may reload, or open a port for a debugger. */
const ENDING: ReadonlySet<string> = new Set(['TERM', '15', 'KILL', '9', 'INT', '2', 'QUIT', '3']);

/** The signal that a request names. @throws InvalidInput if Go may read another one */
export function parseSignal(query: ReadonlyMap<string, string>): string | undefined {
  const signal = query.get('signal');
  if (signal === undefined || signal === '') return undefined;
  if (!SIGNAL.test(signal))
    throw new InvalidInput(
      `signal ${JSON.stringify(signal.slice(0, 40))} is not valid: use a name such as TERM, or a number`,
    );
  return signal;
}

/** Whether a signal can only end a program. One that is written in an unusual way is not known to. */
export function onlyEnds(signal: string): boolean {
  return ENDING.has(signal.toUpperCase().replace(/^SIG/, ''));
}

/** The options of such a request as text, with a blank after them. @throws InvalidInput */
export function describeStop(query: ReadonlyMap<string, string>): string {
  const signal = parseSignal(query);
  const time = query.get('t') ?? '';
  if (time !== '' && !SECONDS.test(time))
    throw new InvalidInput(`t ${JSON.stringify(time.slice(0, 40))} is not a number of seconds: use one such as 10`);
  return `${signal === undefined ? '' : `--signal ${signal} `}${time === '' ? '' : `--time ${time} `}`;
}
