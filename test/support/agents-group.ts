// The group of all agents' accounts, as the API server names it.

export const AGENTS_GROUP = 'system:serviceaccounts:oplab-agents';
