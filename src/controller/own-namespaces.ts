// Namespaces that are oplab's own: whoever works there has the model key, the audit log and every other agent. Pure.

/**
 * Why these targets cannot be: no AgentClass, however wide, opens oplab's own namespaces. Undefined when none of them is one.
 * The chart's admission policies say the same at once; this holds for what was there before them, or came past them.
 */
export function ownNamespaceProblem(targets: readonly string[], own: readonly string[]): string | undefined {
  const found = targets.filter((target) => own.includes(target));
  if (found.length === 0) return undefined;
  return `targetNamespaces: no agent may work in ${found.join(', ')}, which is oplab's own: the model key, the audit log and the agents are there; name other namespaces`;
}
