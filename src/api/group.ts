// The API group and names that several processes share: labels, finalizer, field managers, …

export const GROUP = 'oplab.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** On an Incident while objects that belong to it may exist outside its namespace. */
export const FINALIZER = `${GROUP}/cleanup`;

/** On every object that oplab creates for an Incident; the orphan sweep finds the objects by it. */
export const LABEL_INCIDENT_UID = `${GROUP}/incident-uid`;
export const LABEL_INCIDENT_NAME = `${GROUP}/incident-name`;
export const LABEL_INCIDENT_NAMESPACE = `${GROUP}/incident-namespace`;
export const LABEL_ATTEMPT = `${GROUP}/attempt`;
/** On the role bindings that let the check of a Monitor read its targets. */
export const LABEL_MONITOR_UID = `${GROUP}/monitor-uid`;
export const LABEL_MANAGED_BY = 'app.kubernetes.io/managed-by';
export const MANAGED_BY = 'oplab';

/** Field managers for server-side apply: each owns a part of an Incident's status. */
export const CONTROLLER_MANAGER = 'oplab-controller';
export const GATEWAY_MANAGER = 'oplab-gateway';
/** Owns the conditions AuditIntact and AuditWritable only, so that it can be written without the gateway's other fields. */
export const AUDIT_GUARD_MANAGER = 'oplab-audit-guard';
export const ALARM_MANAGER = 'oplab-alarm';
export const NOTIFIER_MANAGER = 'oplab-notifier';

/** On an Incident that an alarm opened; the open Incident of a fingerprint is found by it. */
export const LABEL_FINGERPRINT = `${GROUP}/fingerprint`;

/** Audiences of the projected tokens. The API server accepts neither of them. */
export const AGENT_AUDIENCE = 'oplab-agent';
export const SANDBOX_AUDIENCE = 'oplab-sandbox';

/** The container names of an agent pod. */
export const AGENT_CONTAINER = 'agent';
export const SANDBOX_CONTAINER = 'sandbox';

/** Name of the ConfigMap in which a target namespace may hold facts for the agent. */
export const RUNBOOK_CONFIG_MAP = 'oplab-runbook';
