// What a terminal, or the reader of a record, is shown of texts that others have written.

import { describe, expect, it } from 'vitest';
import { escapeControls, forTerminal, withoutControls, withVisibleEscapes } from './controls.ts';

const COMMAND = 'kubectl delete pvc --all';
/** What begins a control sequence whose end a terminal would search in the text that follows. */
const OPENERS = ['\u001b]', '\u001b]0;', '\u001bP', '\u001b_', '\u001b^', '\u001bX', '\u001b[', '\u001b[1;', '\u001b'];
const C1_OPENERS = ['\u009b', '\u009d', '\u0090', '\u009f'];

describe('withoutControls', () => {
  it('hides nothing that follows an escape, whatever ends it', () => {
    for (const opener of [...OPENERS, ...C1_OPENERS]) {
      for (const end of ['', '\u0007', '\u001b\\', '\u009c', '\n', '\r']) {
        for (const glue of ["'; ", ' ; ', '\n', ';', '>', '<']) {
          const shown = withoutControls(`: '${opener}${glue}${COMMAND}${end}`);
          expect(shown, JSON.stringify([opener, glue, end])).toContain(glue.trim());
          expect(shown, JSON.stringify([opener, glue, end])).toContain(COMMAND);
          expect(shown).not.toMatch(/(?!\n)\p{Cc}/u);
        }
      }
    }
  });

  it('drops colors and moves of the cursor, which have no room for anything else', () => {
    expect(withoutControls('\u001b[1;31mred\u001b[0m \u001b[2K\u001b[?25lline\u001b[m')).toBe('red line');
    for (const command of [';x', ';1x', ' x', '1;;x', '>x', '1 x']) {
      expect(withoutControls(`ls\u001b[${command}`)).toContain(command);
    }
  });

  it('is linear', () => {
    for (const unit of ['\u001b[', '\u001b[1;', '\u001b', '\u001b]', '1;', '\u001b[1;1']) {
      const before = performance.now();
      withoutControls(unit.repeat(100_000));
      expect(performance.now() - before).toBeLessThan(3000);
    }
  });
});

it('shows every escape of a command, also of colors: a file can have their name', () => {
  expect(withVisibleEscapes('ls; \u001b[0;1m; ls\u001b[2K')).toBe('ls; ␛[0;1m; ls␛[2K');
  expect(withoutControls(withVisibleEscapes('ls\u001b[31m'))).toBe('ls␛[31m');
});

describe('forTerminal', () => {
  it('lets only the colors of this program through', () => {
    const painted = '\u001b[1m\u001b[31mbad\u001b[39m\u001b[22m\tx\n';
    expect(forTerminal(painted)).toBe(painted);
    for (const evil of [
      '\u001b[2J',
      '\u001b]0;x\u0007',
      '\u009b2J',
      '\u001b[8m',
      '\r',
      '\b',
      '\u202e',
      '\u001bc',
      '\u0000',
    ]) {
      const shown = forTerminal(`a${evil}b`);
      expect(shown).not.toMatch(/(?![\n\t])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/u);
      expect(shown).toMatch(/^a\\u[\da-f]{4}/);
    }
  });

  it('leaves what JSON means as it is', () => {
    const value = { text: 'a\u009b2J\u202e\u007f\u001b[31m', '\u0085': [1, null] };
    for (const space of [0, 2]) {
      const text = forTerminal(JSON.stringify(value, null, space));
      expect(text).not.toMatch(/[\u007f-\u009f\u202e]/);
      expect(JSON.parse(text)).toEqual(value);
    }
    expect(JSON.parse(escapeControls(JSON.stringify(value)))).toEqual(value);
  });
});
