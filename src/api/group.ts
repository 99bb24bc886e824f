// The API group and the names that several processes agree on: labels, finalizer, field managers, token audiences.

export const GROUP = 'oplab.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** On an Incident while anything of it may exist outside its namespace. */
export const FINALIZER = `${GROUP}/cleanup`;

/** On every object that oplab makes for an attempt; the orphan sweep finds them by it. */
export const LABEL_INCIDENT_UID = `${GROUP}/incident-uid`;
export const LABEL_INCIDENT_NAME = `${GROUP}/incident-name`;
export const LABEL_INCIDENT_NAMESPACE = `${GROUP}/incident-namespace`;
export const LABEL_ATTEMPT = `${GROUP}/attempt`;
/** On the role bindings by which a Monitor can look. */
export const LABEL_MONITOR_UID = `${GROUP}/monitor-uid`;
export const LABEL_MANAGED_BY = 'app.kubernetes.io/managed-by';
export const MANAGED_BY = 'oplab';

/** Server-side apply: who owns which part of an Incident's status. */
export const CONTROLLER_MANAGER = 'oplab-controller';
export const GATEWAY_MANAGER = 'oplab-gateway';
export const ALARM_MANAGER = 'oplab-alarm';
export const NOTIFIER_MANAGER = 'oplab-notifier';

/** On an Incident that an alarm opened: finds the open one of a fingerprint. */
export const LABEL_FINGERPRINT = `${GROUP}/fingerprint`;

/** Audiences of the projected tokens; neither is valid at the API server. */
export const AGENT_AUDIENCE = 'oplab-agent';
export const SANDBOX_AUDIENCE = 'oplab-sandbox';

/** The container names of an agent pod. */
export const AGENT_CONTAINER = 'agent';
export const SANDBOX_CONTAINER = 'sandbox';

/** Facts for the agent that a namespace may carry, in a ConfigMap of this name. */
export const RUNBOOK_CONFIG_MAP = 'oplab-runbook';
