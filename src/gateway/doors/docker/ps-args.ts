// The formats of `docker top` that the door allows. Pure.
//
// The daemon runs ps on the host, and returns the lines whose column headed PID has the number of a
// process of the container. A renamed column ("uid=PID"), or one with blanks before that column,
// would therefore show processes of the host, as the selections of ps and "e" (environment) would.

import { InvalidInput } from '../../../errors.ts';

/** All processes, in the formats of ps itself. Their columns before PID have no blanks. */
const PLAIN = /^(-[ef]|-A|-e?[fFl]|ax|aux|axu|auxww?|-efww?)?$/;
/** All processes, with these columns. */
const COLUMNS = /^(?:-e -o|-eo|-A -o|-Ao|-o|axo|o) ([a-z,%]+)$/;

/** Columns whose values have no blanks. */
const SOLID = [
  ...['pid', 'ppid', 'pgid', 'user', 'uid', 'group', 'gid', 'pcpu', '%cpu', 'pmem', '%mem', 'rss', 'vsz', 'sz'],
  ...['nlwp', 'ni', 'pri', 'psr', 'stat', 'state', 'tty', 'etime', 'etimes', 'time', 'wchan'],
];
/** Columns that must come after PID. */
const LOOSE = ['args', 'cmd', 'command', 'comm', 'lstart', 'start', 'stime'];

/** @throws InvalidInput if ps could show something else than the processes of the container */
export function requirePlainPs(args: string): void {
  const columns = COLUMNS.exec(args)?.[1]?.split(',');
  const pid = columns?.indexOf('pid') ?? -1;
  const isPlain =
    columns === undefined
      ? PLAIN.test(args)
      : pid !== -1 && columns.every((name, at) => SOLID.includes(name) || (at > pid && LOOSE.includes(name)));
  if (isPlain) return;
  throw new InvalidInput(
    `ps_args ${JSON.stringify(args.slice(0, 100))} is not allowed: use none, "-ef", "aux", or "-eo" with "pid" and other columns, ${LOOSE.join(', ')} only after it`,
  );
}
