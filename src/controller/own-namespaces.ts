// Keeps agents out of oplab's own namespaces, where the model key, audit log and agents are. Pure.

/**
 * Explains why these targets are refused; undefined when none of them is oplab's own namespace.
 * No AgentClass can allow oplab's own namespaces. The chart's admission policies refuse them
 * earlier; this check covers objects that are older than the policies or that bypassed them.
 */
export function ownNamespaceProblem(targets: readonly string[], own: readonly string[]): string | undefined {
  const found = targets.filter((target) => own.includes(target));
  if (found.length === 0) return undefined;
  return `targetNamespaces: no agent may work in ${found.join(', ')}, which ${found.length === 1 ? 'belongs' : 'belong'} to oplab: the model key, the audit log and the agents are there; name other namespaces`;
}
