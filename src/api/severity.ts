// How severe an Incident is. Without a schema, for the command line to name them before it loads one.

export const SEVERITIES = ['critical', 'warning', 'info'] as const;
