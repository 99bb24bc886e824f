// The settings of this installation of oplab that the controller has to know.

/** The canaries of every attempt. */
export interface TripwireSettings {
  /** From which their values are derived. The gateway has the same. */
  readonly key: string;
  /** The name of the canary Secret in target namespaces. */
  readonly secretName: string;
  /** The canary host, as the canary Secret names it. */
  readonly host: string;
}

export interface Installation {
  /** The namespace of the agent pods. */
  readonly agentsNamespace: string;
  /** The namespace of the gateway and the controller. */
  readonly systemNamespace: string;
  /** The namespace that serves the node's Docker socket, if any. */
  readonly dockerNamespace?: string | undefined;
  /** More addresses that sandboxes must not be able to reach: "name=host:port,…". */
  readonly isolationProbes?: string | undefined;
  /** Undefined: there are no tripwires. */
  readonly tripwires?: TripwireSettings | undefined;
}

/** All namespaces of oplab itself, where no agent may work. */
export function ownNamespaces({ systemNamespace, agentsNamespace, dockerNamespace }: Installation): string[] {
  return [systemNamespace, agentsNamespace, ...(dockerNamespace === undefined ? [] : [dockerNamespace])];
}
