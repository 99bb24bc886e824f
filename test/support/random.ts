// Pseudo-random numbers that are the same in every run.

/** Each call returns the next number, at least 0 and below 1. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
