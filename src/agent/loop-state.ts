// Everything that the loop needs to go on, and the records in which it is kept by the gateway.
//
// A record has what changed since the one before it. They are read back by the same attempt only.

import * as z from 'zod';
import type { Answer } from './answer.ts';
import type { ResultNote, Turn } from './context.ts';
import { type BudgetLeft, budgetLeft, type ModelState, modelState } from './model-state.ts';
import { type ToolOutcome, toolOutcome } from './tool.ts';

/** An answer that is being worked on: its calls are run one after another. */
export interface Pending {
  readonly answer: Answer;
  /** How much of the scarcest limit was left before the answer. */
  readonly left: BudgetLeft | undefined;
  /** The number of the first entry about the answer. */
  readonly firstKey: number;
  /** Of the calls that have ended, in their order. */
  readonly outcomes: ToolOutcome[];
}

export interface LoopState {
  readonly system: string;
  conversation: Turn[];
  readonly notes: Map<string, ResultNote>;
  turn: number;
  /** An estimate of the conversation's size. */
  tokens: number;
  /** Consecutive reminders. */
  reminders: number;
  /** The percentage in the last notice about a limit. */
  noticedPercent: number;
  model: ModelState;
  pending: Pending | undefined;
}

/** Checks the shape that the loop relies on, and keeps the value exactly as it is. */
function verbatim<T>(shape: z.ZodType): z.ZodType<T> {
  return z.custom<T>((value) => shape.safeParse(value).success, 'not what was kept');
}

const block = z.looseObject({ type: z.string() });
const turnShape = verbatim<Turn>(z.object({ role: z.enum(['user', 'assistant']), content: z.array(block) }));
const answerShape = verbatim<Answer>(
  z.looseObject({
    content: z.array(block),
    stop_reason: z.string().nullable(),
    usage: z.looseObject({ input_tokens: z.number(), output_tokens: z.number() }),
  }),
);

const record = z.object({
  /** In the first record only. */
  system: z.string().optional(),
  counters: z.object({
    turn: z.number().int(),
    tokens: z.number(),
    reminders: z.number().int(),
    noticedPercent: z.number(),
    model: modelState,
  }),
  /** So many messages stay, and these follow. */
  keep: z.number().int().min(0),
  add: z.array(turnShape),
  notes: z.array(z.tuple([z.string(), z.object({ summary: z.string(), seq: z.number().int() })])),
  /** Absent: it is the same as before. */
  pending: z
    .object({ answer: answerShape, left: budgetLeft.optional(), firstKey: z.number().int().min(1) })
    .nullable()
    .optional(),
  /** Of the pending answer, those that follow. */
  outcomes: z.array(toolOutcome),
});
export type StateRecord = z.infer<typeof record>;

/** Where a record goes. `isWhole`: it replaces all before it. */
export interface RecordPlace {
  readonly index: number;
  readonly isWhole: boolean;
}

/**
 * The state after all records; undefined if there are none.
 * @throws if they are not what was written
 */
export function readState(lines: readonly unknown[]): LoopState | undefined {
  let state: LoopState | undefined;
  for (const line of lines) {
    const { system, counters, keep, add, notes, pending, outcomes } = record.parse(line);
    const before: LoopState = state ?? {
      system: system ?? '',
      conversation: [],
      notes: new Map(),
      pending: undefined,
      ...counters,
    };
    if (keep > before.conversation.length) throw new Error('a record of the conversation is missing');
    for (const [id, note] of notes) before.notes.set(id, note);
    const kept: Pending | undefined =
      pending === undefined
        ? before.pending
        : pending === null
          ? undefined
          : { answer: pending.answer, left: pending.left, firstKey: pending.firstKey, outcomes: [] };
    kept?.outcomes.push(...outcomes);
    state = {
      ...before,
      ...counters,
      conversation: [...before.conversation.slice(0, keep), ...add],
      pending: kept,
    };
  }
  return state;
}

/** Makes the records of one state as it changes. */
export class StateRecorder {
  #conversation: readonly Turn[] = [];
  #notes = new Map<string, ResultNote>();
  #pending: Pending | undefined;
  #outcomes = 0;

  /** @param known what is kept already */
  constructor(known?: LoopState) {
    if (known !== undefined) this.#remember(known);
  }

  /** What changed since the last record. @param isWhole everything, as the first of new records */
  record(state: LoopState, isWhole: boolean): StateRecord {
    const { system, conversation, notes, pending, turn, tokens, reminders, noticedPercent, model } = state;
    let keep = 0;
    while (!isWhole && keep < conversation.length && conversation[keep] === this.#conversation[keep]) keep++;
    const isSame = !isWhole && pending === this.#pending;
    const changed: StateRecord = {
      ...(isWhole ? { system } : {}),
      counters: { turn, tokens, reminders, noticedPercent, model },
      keep,
      add: conversation.slice(keep),
      notes: [...notes].filter(([id, note]) => isWhole || this.#notes.get(id) !== note),
      ...(isSame ? {} : { pending: pending === undefined ? null : withoutOutcomes(pending) }),
      outcomes: pending?.outcomes.slice(isSame ? this.#outcomes : 0) ?? [],
    };
    this.#remember(state);
    return changed;
  }

  #remember({ conversation, notes, pending }: LoopState): void {
    this.#conversation = [...conversation];
    this.#notes = new Map(notes);
    this.#pending = pending;
    this.#outcomes = pending?.outcomes.length ?? 0;
  }
}

function withoutOutcomes({ answer, left, firstKey }: Pending) {
  return { answer, firstKey, ...(left === undefined ? {} : { left }) };
}
