// Commands for people, as words, and the only place where they become text for a shell.
//
// Words of a command come from the authors of Incidents and Monitors. As text they are only safe if
// every word is quoted, so no text is ever searched for commands, and no command is put together as
// text.

/** A program and its arguments. */
export type Command = readonly string[];

/** Longer text does not survive being copied from a terminal or a chat. In characters. */
const MAX_LENGTH = 4096;
/**
 * Words that mean themselves in every shell. With `=`, `~` or `%` in front they do not in some, and
 * a program with `=` in its name would be an assignment.
 */
const PLAIN = /^[A-Za-z0-9_@+:,./-][A-Za-z0-9_@%+=:,./-]*$/;
const PLAIN_PROGRAM = /^[A-Za-z0-9_./-]+$/;
/**
 * Control and format characters, line and paragraph separators, and halves of surrogate pairs. A
 * terminal acts on some of them even between quotes, and others make the text look different from
 * what is copied.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;

/**
 * The command as one line that a person can paste into a POSIX shell, bash, zsh or fish.
 * @returns undefined if it cannot be pasted safely: then show nothing, not a part of it
 */
export function renderCommand(command: Command): string | undefined {
  if (command.length === 0 || command.some((word) => HIDDEN.test(word))) return undefined;
  const text = command.map((word, index) => quote(word, index === 0 ? PLAIN_PROGRAM : PLAIN)).join(' ');
  return text.length <= MAX_LENGTH ? text : undefined;
}

/**
 * One word. Quotes and backslashes stand outside of the single quotes: fish gives `\` a meaning
 * inside of them, and zsh may do so with two quotes in a row.
 */
function quote(word: string, plain: RegExp): string {
  if (plain.test(word)) return word;
  return word === ''
    ? "''"
    : word.replace(/[^'\\]+|['\\]/g, (part) => (/['\\]/.test(part) ? `\\${part}` : `'${part}'`));
}
