// The content of an event that the controller records on an Incident or a Monitor.

/** An event as `kubectl describe` shows it. */
export interface Note {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}
