// For tests: a command whose programs get the same answers as before ends as before, and is not run again.

import type { Ended, FakePrograms } from './fake-programs.ts';

/** Where a command is after some answers: it asks something, or has ended. */
type Place = { readonly question: string; readonly after: Map<string, Place> } | { readonly ended: Ended };

/**
 * Commands that were run, each with what its programs asked and how they were answered. A command
 * sees nothing but these answers, as it runs in an empty directory, so the same answers lead to the
 * same end. A remembered command asks its programs all the same, so that its writes take place and
 * its answers are those of the cluster as it is now.
 */
export class CommandMemory {
  /** Where each command begins. */
  readonly #places = new Map<string, Place>();

  async run(command: string, programs: FakePrograms): Promise<Ended> {
    const dialogue: (readonly [question: string, answer: string])[] = [];
    const ask = (question: string): string => {
      const answer = programs.answer(question);
      dialogue.push([question, answer]);
      return answer;
    };
    let place = this.#places.get(command);
    while (place !== undefined) {
      if ('ended' in place) return place.ended;
      place = place.after.get(ask(place.question));
    }
    // These answers are new: the command is run, and what was asked on its behalf is not asked twice.
    const given = [...dialogue];
    const ended = await programs.run(command, (question) => {
      const again = given[0]?.[0] === question ? given.shift() : undefined;
      return again?.[1] ?? ask(question);
    });
    if (given.length > 0) throw new Error(`the same answers, other questions: ${command}`);
    this.#remember(command, dialogue, ended);
    return ended;
  }

  /** @throws Error when the command has asked something else after the same answers before. */
  #remember(command: string, dialogue: readonly (readonly [string, string])[], ended: Ended): void {
    let places = this.#places;
    let key = command;
    for (const [question, answer] of dialogue) {
      const place = places.get(key) ?? { question, after: new Map<string, Place>() };
      if ('ended' in place || place.question !== question) {
        throw new Error(`the same answers, other questions: ${command}`);
      }
      places.set(key, place);
      places = place.after;
      key = answer;
    }
    places.set(key, { ended });
  }
}
