// Halves of surrogate pairs, wherever they stand in JSON.

import { expect, it } from 'vitest';
import { hasHalfCharacter, withWholeCharacters } from './json.ts';

it.each([
  ['a\ud83d', 'a\ufffd'],
  ['\ude00\ud83d', '\ufffd\ufffd'],
  ['\\\ud83d\\', '\\\ufffd\\'],
  ['\\\\\udfff"', '\\\\\ufffd"'],
])('replaces a half in %j', (text, wanted) => {
  const json = JSON.stringify({ [text]: [text] });
  expect(hasHalfCharacter(json)).toBe(true);
  expect(JSON.parse(withWholeCharacters(json))).toEqual({ [wanted]: [wanted] });
});

it.each(['😀', '\\ud83d', '\\\\ud83d', '\\\\\\ud83d', 'ud83d', ''])('leaves %j as it is', (text) => {
  const json = JSON.stringify({ [text]: [text] });
  expect(hasHalfCharacter(json)).toBe(false);
  expect(withWholeCharacters(json)).toBe(json);
});
