// Does one thing at a time, in turns: whoever asks for much waits for all who ask for little.

interface Job {
  run(): Promise<void>;
  drop(): void;
}

export class Turns {
  /** Waiting jobs by owner. The first owner is next, and then goes to the end. */
  readonly #waiting = new Map<string, Job[]>();
  #isRunning = false;

  /**
   * Does `work` when its owner has its turn.
   * @throws what `work` throws, or Dropped
   */
  take<T>(owner: string, work: () => Promise<T>): Promise<T> {
    const result = Promise.withResolvers<T>();
    const job: Job = {
      run: () => work().then(result.resolve, result.reject),
      drop: () => result.reject(new Dropped()),
    };
    const jobs = this.#waiting.get(owner);
    if (jobs === undefined) this.#waiting.set(owner, [job]);
    else jobs.push(job);
    void this.#run();
    return result.promise;
  }

  /** Rejects all that has not begun. */
  drop(): void {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const job of all) job.drop();
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let job = this.#next(); job !== undefined; job = this.#next()) await job.run();
    this.#isRunning = false;
  }

  #next(): Job | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const [owner, jobs] = first;
    const job = jobs.shift();
    this.#waiting.delete(owner);
    if (jobs.length > 0) this.#waiting.set(owner, jobs);
    return job;
  }
}

/** The work was dropped before it began. */
export class Dropped extends Error {
  constructor() {
    super('it was dropped before its turn');
  }
}
