// The slow way to what a terminal shows of bytes, to compare with: the whole text at once, a grid of
// columns for each line. It shares no code with the sandbox.

/** What is left of the bytes, and how many characters are not. */
export function naiveTerminal(bytes: Uint8Array): { text: string; hidden: number } {
  const input = Array.from(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).replaceAll('\0', '\uFFFD'));
  const out: string[] = [];
  let hidden = 0;
  /** What is written: its columns from `at` on, and what has no width behind it. */
  let line: { character: string; at: number; width: number }[] = [];
  let lead = '';
  let column = 0;
  let changed = false;
  /** After a carriage return, which changes nothing if the line ends here. */
  let returned = false;

  const end = () => line.reduce((most, cell) => Math.max(most, cell.at + cell.width), 0);
  const text = () => {
    const cells = line.toSorted((a, b) => a.at - b.at);
    let shown = lead;
    let next = 0;
    for (const { character, at, width } of cells) {
      shown += ' '.repeat(at - next) + character;
      next = at + width;
    }
    return shown;
  };
  const finish = (mark: string, isWhole = true) => {
    out.push((changed && isWhole ? text().replace(/ +$/, '') : text()) + mark);
    [line, lead, column, changed, returned] = [[], '', 0, false, false];
  };
  const leave = () => finish((changed ? text().trimEnd() : text()) === '' ? '' : '\n');
  const put = (character: string) => {
    if (character === '\n') return finish('\n');
    if (returned) change();
    const code = character.codePointAt(0) ?? 0;
    const isTab = character === '\t';
    const isMark = !isTab && /^[\p{M}\p{Cf}\p{Cc}]$/u.test(character);
    const isWide = /^[\p{sc=Han}\p{sc=Hangul}\p{sc=Hiragana}\p{sc=Katakana}]$/u.test(character) || code >= 0x1f300;
    const width = isTab ? 8 - (column % 8) : isMark ? 0 : isWide ? 2 : 1;
    const room = 1024 - text().length - character.length - (isMark ? 0 : Math.max(0, column - end()));
    if ((isMark || column >= end()) && room < 0) {
      finish('', false);
      return put(character);
    }
    if (isMark) {
      const before = line.find(({ at, width }) => column - 1 >= at && column - 1 < at + width) ?? line.at(-1);
      if (column === 0 || before === undefined) lead += character;
      else before.character += character;
      return;
    }
    for (; end() < column; line.push({ character: ' ', at: end(), width: 1 }));
    clear(column, Math.min(column + width, Math.max(end(), column)), character);
    line = line.filter(({ at }) => at < column || at >= column + width);
    line.push({ character, at: column, width });
    line.sort((a, b) => a.at - b.at);
    column += width;
  };
  const clear = (from: number, to: number, by = ' ') => {
    line = line.flatMap((cell) => {
      if (cell.at >= to || cell.at + cell.width <= from) return [cell];
      if (cell.character.trim() !== '' && cell.character !== by) hidden += 1;
      return Array.from({ length: cell.width }, (_, n) => ({ character: ' ', at: cell.at + n, width: 1 }));
    });
  };
  const change = () => {
    if (returned) column = 0;
    [changed, returned] = [true, false];
  };
  const move = (distance: number, from?: number) => {
    change();
    const to = (from ?? column) + distance;
    column = Math.max(0, Math.min(to, Math.max(end(), 1023)));
  };
  const erase = (part: number) => {
    const isAtEnd = !changed && !returned;
    if (part > 2 || (part === 0 && isAtEnd)) return;
    change();
    const to = part === 1 ? Math.min(column + 1, end()) : end();
    const from = Math.min(part === 0 ? column : 0, to);
    const wasEnd = end();
    clear(from, to);
    if (to === wasEnd) line = line.filter(({ at }) => at < from);
  };

  for (let at = 0; at < input.length; at += 1) {
    const character = input[at] ?? '';
    const rest = () => input.slice(at).join('');
    if (character === '\r') {
      if (changed) move(0, 0);
      else returned = true;
    } else if (character === '\b') {
      move(-1);
    } else if (character !== '\u001b') {
      put(character);
    } else {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it reads them
      const control = /^\u001b\[([0-?]{0,64})[ -/]{0,4}([@-~])/.exec(rest());
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it reads them
      const string = /^\u001b[\]PX^_]([^\u0007\u001b\u009c\n]{0,4096})(?:\u0007|\u001b\\|\u009c)/.exec(rest());
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it reads them
      const short = /^\u001b(?:[ #%()*+.-][0-~]|[78=><cDEHMNOZ\\])/.exec(rest());
      const whole = control ?? string ?? short;
      if (whole === null) {
        put(character);
        continue;
      }
      at += Array.from(whole[0]).length - 1;
      hidden += string?.[1]?.length ?? 0;
      if (short !== null && /[DEMc]$/.test(short[0]) && short[0].length === 2) leave();
      if (control === null) continue;
      const [, parameters = '', letter = ''] = control;
      if (/^[<=>?]/.test(parameters)) {
        if (['?47', '?1047', '?1049'].includes(parameters) && 'hl'.includes(letter)) leave();
        continue;
      }
      const [first = 0, second = 0] = parameters.split(/[:;]/).map((one) => Number.parseInt(one, 10) || 0);
      const count = first || 1;
      if ('Ca'.includes(letter)) move(count);
      else if (letter === 'D') move(-count);
      else if ('G`'.includes(letter)) move(count - 1, 0);
      else if (letter === 'K' || (letter === 'J' && first < 2)) erase(first);
      else if (letter === 'X') {
        change();
        clear(column, Math.min(column + count, end()));
      } else if ('JABEFLMSTdeHf'.includes(letter)) {
        leave();
        if ('Hf'.includes(letter) && second > 1) move(second - 1, 0);
      }
    }
  }
  finish('');
  return { text: out.join(''), hidden };
}
