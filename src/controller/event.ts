// What an event says: shared by everything in the controller that records one on an Incident or a Monitor.

/** An event, as `kubectl describe` shows it. */
export interface Note {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}
