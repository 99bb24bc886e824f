// The messages between the main thread and the CEL worker.

/**
 * A variable of an expression, as text. The worker parses it, because a time limit applies there.
 */
export type CelVariable =
  /** JSON text. Integers become CEL integers if they fit into 64 bits. */
  | { readonly json: string }
  /** JSON text if it parses, otherwise a string. */
  | { readonly jsonOrText: string }
  /** Samples of a query. Their values are doubles, including those that JSON cannot express. */
  | { readonly samples: readonly Sample[] };

/** One element of an instant vector. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface CelRequest {
  readonly expression: string;
  /** If not set, the expression is only parsed. */
  readonly variables?: Readonly<Record<string, CelVariable>>;
}

export type CelAnswer =
  | { readonly type: 'ready' }
  | { readonly type: 'parsed' }
  | { readonly type: 'value'; readonly isTrue: boolean; readonly text: string }
  | { readonly type: 'error'; readonly message: string };
