// Finds what a command leaves behind: the processes that had to be killed, and listening sockets.

import { readdir, readFile, readlink } from 'node:fs/promises';

/** A socket that waits for others. */
export interface Listener {
  /** For example `tcp 127.0.0.1:9229` or `unix @name`. */
  readonly name: string;
  readonly inode: string;
}

/** How much of a command line is shown, in characters, and how many things are named. */
const MAX_NAME = 100;
const MAX_NAMES = 8;

/** States of /proc/net: TCP sockets that listen, and UDP sockets that are not connected. */
const WAITING = { tcp: '0A', tcp6: '0A', udp: '07', udp6: '07' } as const;
/** Of a unix socket that listens. */
const ACCEPTS = 0x10000;

/** All sockets of this network namespace that wait for others. */
export async function listListeners(root = '/proc/net'): Promise<Listener[]> {
  const read = async (table: string) =>
    (await readFile(`${root}/${table}`, 'latin1').catch(() => '')).split('\n').slice(1);
  const found: Listener[] = [];
  for (const [table, state] of Object.entries(WAITING)) {
    for (const line of await read(table)) {
      const fields = line.trim().split(/\s+/);
      const [, local = ''] = fields;
      if (fields[3] === state && fields[9] !== undefined)
        found.push({ name: `${table.replace('6', '')} ${formatAddress(local)}`, inode: fields[9] });
    }
  }
  for (const line of await read('unix')) {
    const [, , , flags = '0', , , inode = '', ...path] = line.trim().split(/\s+/);
    if ((Number.parseInt(flags, 16) & ACCEPTS) !== 0)
      found.push({ name: `unix ${path.join(' ') || '(no name)'}`, inode });
  }
  return found;
}

/** An address as the kernel prints it: each group of four bytes in the order of the machine. */
export function formatAddress(text: string): string {
  const [hex = '', port = ''] = text.split(':');
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  const number = Number.parseInt(port, 16);
  if (bytes.length === 4) return `${bytes.map((byte) => Number.parseInt(byte, 16)).join('.')}:${number}`;
  const groups = (bytes.join('').match(/.{4}/g) ?? []).map((group) => Number.parseInt(group, 16).toString(16));
  // The longest run of zeros is shortened, as in every other place where an address is shown.
  const runs = groups.join(':').match(/(?:^|:)0(?::0)+(?=:|$)/g) ?? [];
  const longest = runs.toSorted((a, b) => b.length - a.length)[0];
  const short = longest === undefined ? groups.join(':') : groups.join(':').replace(longest, ':');
  const whole = short.replace(/^:(?!:)/, '::').replace(/(?<!:):$/, '::');
  return `[${whole}]:${number}`;
}

/** The inodes of the sockets that these processes hold. */
export async function socketInodes(pids: readonly number[]): Promise<Set<string>> {
  const inodes = new Set<string>();
  for (const pid of pids) {
    // A process may have ended, or not let itself be read.
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) inodes.add(inode);
    }
  }
  return inodes;
}

/** The command line of a process, for people. */
export async function describeProcess(pid: number): Promise<string> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''))
    .split('\0')
    .filter((word) => word !== '');
  const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
  const line = (words.join(' ') || name || 'a process').replaceAll(/[\p{Cc}\s]+/gu, ' ');
  return line.length <= MAX_NAME ? line : `${line.slice(0, MAX_NAME - 1)}…`;
}

/** Listeners that were not there before the command. */
export function newListeners(before: readonly Listener[], after: readonly Listener[]): Listener[] {
  const known = new Set(before.map(({ inode }) => inode));
  return after.filter(({ inode }) => !known.has(inode));
}

/** Shortens a list for the result of a command. */
export function limitNames(names: readonly string[]): string[] {
  const different = [...new Set(names)];
  return different.length <= MAX_NAMES
    ? different
    : [...different.slice(0, MAX_NAMES), `${different.length - MAX_NAMES} more`];
}
