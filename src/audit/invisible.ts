// What stands between two characters without a reader seeing it.

import { SEQUENCES } from './controls.ts';

/**
 * Removes what nobody sees: a secret that is written with it is displayed whole. What a shell acts on
 * stays.
 */
export function withoutInvisible(text: string): string {
  return text.replace(SEQUENCES, '').replace(INVISIBLE, '');
}

/** Colors that begin with one control character, controls, marks of formats, and what a font leaves out. */
const INVISIBLE = /\u009b[\d;]{0,32}[A-HJKSTm]|(?![\s\0])\p{Cc}|\p{Cf}|\p{Default_Ignorable_Code_Point}/gu;
