// The kinds of audit entries. Without a schema, for the command line to name them before it loads one.

export const ENTRY_KINDS = [
  'reasoning',
  'tool_call',
  'tool_result',
  'model_call',
  'kube_intent',
  'kube_before',
  'kube_outcome',
  'docker_intent',
  'docker_outcome',
  'lifecycle',
] as const;
