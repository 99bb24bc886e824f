// Answers of the Messages API as streams: what the vendor's documentation, public recordings and
// servers that imitate the API show. Their structure is real; texts, ids and signatures are made up.

import { stopReasons, wholeAnswers } from './recordings/answers.ts';
import type { Case } from './recordings/events.ts';
import { failures } from './recordings/failures.ts';
import { noStreams, syntax, unknownThings, usages } from './recordings/oddities.ts';

/** All recordings, by their kind. */
export const RECORDINGS: Readonly<Record<string, readonly Case[]>> = {
  'a whole answer': wholeAnswers,
  'an end of an answer': stopReasons,
  'what is new': unknownThings,
  'a usage': usages,
  'a failure': failures,
  'a syntax': syntax,
  'an answer that is no stream': noStreams,
};
