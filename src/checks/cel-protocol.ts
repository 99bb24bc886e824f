// What passes between the main thread and the CEL worker.

/** A variable of an expression, as text: it is parsed in the worker, where a time limit holds. */
export type CelVariable =
  /** JSON text; integers become CEL integers, whatever their size. */
  | { readonly json: string }
  /** JSON if it parses, else the text itself. */
  | { readonly jsonOrText: string }
  /** Samples of a query: their values are doubles, also where JSON has no word for them. */
  | { readonly samples: readonly Sample[] };

/** One element of an instant vector. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface CelRequest {
  readonly expression: string;
  /** Left out: only parse. */
  readonly variables?: Readonly<Record<string, CelVariable>>;
}

export type CelAnswer =
  | { readonly type: 'ready' }
  | { readonly type: 'parsed' }
  | { readonly type: 'value'; readonly isTrue: boolean; readonly text: string }
  | { readonly type: 'error'; readonly message: string };
