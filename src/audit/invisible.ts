// What stands between two characters without a reader seeing it.

import { SEQUENCES } from './controls.ts';

/**
 * Removes what nobody sees: a secret that is written with it is displayed whole. What a shell acts on
 * stays.
 */
export function withoutInvisible(text: string): string {
  return text.replace(SEQUENCES, '').replace(/(?![\s\0])\p{Cc}|\p{Cf}/gu, '');
}
