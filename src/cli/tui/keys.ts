// Parses terminal input into keys.

export type Key =
  | 'up'
  | 'down'
  | 'left'
  | 'right'
  | 'page-up'
  | 'page-down'
  | 'home'
  | 'end'
  | 'tab'
  | 'back-tab'
  | 'enter'
  | 'escape'
  | 'interrupt'
  | 'suspend'
  | 'redraw'
  | { readonly character: string };

const SEQUENCES: Readonly<Record<string, Key>> = {
  '[A': 'up',
  '[B': 'down',
  '[C': 'right',
  '[D': 'left',
  OA: 'up',
  OB: 'down',
  OC: 'right',
  OD: 'left',
  '[5~': 'page-up',
  '[6~': 'page-down',
  '[H': 'home',
  '[F': 'end',
  OH: 'home',
  OF: 'end',
  '[1~': 'home',
  '[4~': 'end',
  '[7~': 'home',
  '[8~': 'end',
  '[Z': 'back-tab',
};

const CONTROLS: Readonly<Record<string, Key>> = {
  '\u0002': 'page-up',
  '\u0003': 'interrupt',
  '\u0004': 'page-down',
  '\u0006': 'page-down',
  '\u0009': 'tab',
  '\u000a': 'enter',
  '\u000c': 'redraw',
  '\u000d': 'enter',
  '\u000e': 'down',
  '\u0010': 'up',
  '\u0015': 'page-up',
  '\u001a': 'suspend',
};

const ESC = '\u001b';
/** What may follow an escape: a complete sequence, or the beginning of one. */
const WHOLE = /^(?:\[[0-?]*[ -/]*[@-~]|O[ -~])/;
const BEGUN = /^(?:$|\[[0-?]*[ -/]*$|O$)/;

/**
 * Returns the keys in the input, and its unparsed rest: a slow connection may split a sequence.
 * With `final`, nothing is left over: an escape that nothing follows is the escape key.
 */
export function parseKeys(input: string, final = false): { keys: Key[]; rest: string } {
  const keys: Key[] = [];
  let rest = input;
  while (rest !== '') {
    if (rest.startsWith(ESC)) {
      const after = rest.slice(1);
      const sequence = WHOLE.exec(after)?.[0];
      if (sequence !== undefined) {
        const key = SEQUENCES[sequence];
        if (key !== undefined) keys.push(key);
        rest = after.slice(sequence.length);
      } else if (BEGUN.test(after) && !final) {
        return { keys, rest };
      } else {
        keys.push('escape');
        rest = after === '[' || after === 'O' ? '' : after;
      }
      continue;
    }
    const [character = ''] = rest;
    rest = rest.slice(character.length);
    const control = CONTROLS[character];
    if (control !== undefined) keys.push(control);
    else if (character >= ' ' && character !== '\u007f') keys.push({ character });
  }
  return { keys, rest };
}
