// A secret whose value is known, in the forms in which programs print it.

import { describe, expect, it } from 'vitest';
import { Redactor } from './redaction.ts';

const SECRETS = ['hunter2hunter2', 'a/b+c?d=e&f g"h\\i', `sk-${'x7?>~'.repeat(20)}`, 'äöü-ß-ßß', '12345678'];

const wrapped = (text: string, width: number, end: string) =>
  text.replaceAll(new RegExp(`.{${width}}(?=.)`, 'g'), (line) => `${line}${end}`);
const base64 = (text: string) => Buffer.from(text).toString('base64');
const hex = (text: string) => Buffer.from(text).toString('hex');

/** What is printed, and what of it must not be on record. */
const forms: Readonly<Record<string, (secret: string) => string>> = {
  'as it is': (secret) => secret,
  'base64 with a line break': (secret) => base64(`${secret}\n`),
  'base64 behind one character': (secret) => base64(`x${secret}`),
  'base64 behind two characters': (secret) => base64(`xy${secret}`),
  'base64 of a whole file': (secret) => base64(`key: ${secret}\nother: value\n`),
  'base64 in lines': (secret) => wrapped(base64(`${secret}\n`), 76, '\n'),
  'base64 in short lines with CRLF': (secret) => wrapped(base64(`api ${secret}`), 12, '\r\n  '),
  'base64 in lines, as JSON': (secret) => JSON.stringify(wrapped(base64(secret), 16, '\n')),
  base64url: (secret) => Buffer.from(`x${secret}`).toString('base64url'),
  hex: hex,
  'hex in capitals': (secret) => hex(secret).toUpperCase(),
  'hex in lines': (secret) => wrapped(hex(`a${secret}`), 60, '\n'),
  'URL-encoded': (secret) => encodeURIComponent(secret),
  JSON: (secret) => JSON.stringify(secret).slice(1, -1),
};

/** The bytes of the secret that can still be read out of the text, after all line ends are gone. */
function legible(secret: string, text: string): number {
  const plain = text.replaceAll(/\\[nr]|\s/g, '');
  let most = 0;
  for (let from = 0; from < secret.length; from += 1) {
    for (let to = from + 4; to <= secret.length; to += 1) {
      const part = secret.slice(from, to);
      const encoded = [0, 1, 2].map((offset) => {
        const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(part)]);
        return bytes.toString('base64').slice(Math.ceil((offset * 8) / 6), Math.floor((bytes.length * 8) / 6));
      });
      const forms = [part, hex(part), hex(part).toUpperCase(), encodeURIComponent(part), ...encoded];
      if (forms.some((form) => plain.includes(form))) most = Math.max(most, to - from);
      else break;
    }
  }
  return most;
}

describe.each(SECRETS)('the secret %j', (secret) => {
  it.each(Object.entries(forms))('is not legible %s', (_name, form) => {
    const printed = form(secret);
    const shown = new Redactor([secret]).text(`before ${printed} after; reboot`);
    expect(shown).toMatch(/^before .*\[redacted:literal:\d+\]/s);
    expect(shown.endsWith(' after; reboot'), shown).toBe(true);
    expect(legible(secret, shown.slice(7))).toBe(0);
    // Lines stay lines.
    expect(shown.replaceAll(/[^\n\r]/g, '')).toBe(`${printed}`.replaceAll(/[^\n\r]/g, ''));
    expect(new Redactor([secret]).text(shown)).toBe(shown);
  });
});

it('takes nothing of a line below that the encoded secret does not reach into', () => {
  const redactor = new Redactor(['123456789']);
  for (const text of [base64('123456789'), base64('xyz123456789'), hex('123456789')]) {
    expect(redactor.text(`${text}\nx\ny`)).toMatch(/:\d+\]\nx\ny$/);
  }
});

it('takes linear time for what almost is the secret', () => {
  const redactor = new Redactor(SECRETS);
  for (const unit of [base64('hunter2hunter').slice(0, -2), 'aHVudGVy\n', `${hex('hunter2hunter')}\n`, '\\n', '\n ']) {
    const text = unit.repeat(Math.ceil(300_000 / unit.length));
    const before = performance.now();
    redactor.text(text);
    expect(performance.now() - before, JSON.stringify(unit)).toBeLessThan(3000);
  }
});
