// Builds the agent pod: the agent, and the sandbox in which its commands run. Pure.

import type { AgentClassSpec } from '../../api/agent-class.ts';
import { ANNOTATION_CANARY_KUBECONFIG, canaryToken } from '../../api/canary.ts';
import { AGENT_AUDIENCE, AGENT_CONTAINER, SANDBOX_AUDIENCE, SANDBOX_CONTAINER } from '../../api/group.ts';
import { type Incident, listTargetNamespaces, sessionId } from '../../api/incident.ts';
import { ports } from '../../gateway/protocol.ts';
import type { NewKubeObject } from '../../kube/client.ts';
import { SOCKET_PATH } from '../../sandbox/protocol.ts';
import type { Installation } from '../installation.ts';
import { canaryKubeconfig } from './canaries.ts';
import { attemptLabels, attemptName } from './names.ts';

/** The UID and GID of all containers in the pod. */
const USER = 65532;
const HOME = '/home/oplab';
const SOCKET_FOLDER = '/run/oplab';
const CA_FOLDER = '/etc/oplab/ca';
const CA_FILE = `${CA_FOLDER}/ca.crt`;
/** Holds a kubeconfig with the canary token. The mount point is all that it needs. */
const CANARY_FOLDER = `${HOME}/.cluster-admin`;
const TOKEN_FOLDER = '/var/run/secrets/oplab';
const TOKEN_FILE = `${TOKEN_FOLDER}/token`;
/** The chart creates it in the agents' namespace. */
const CA_CONFIG_MAP = 'oplab-gateway-ca';
/**
 * Lifetime of a projected token, in seconds. The kubelet renews it well before it expires. The
 * token of a dead pod is refused by the UID of the pod.
 */
const TOKEN_SECONDS = 3600;

const DEFAULT_RESOURCES = {
  agent: {
    requests: { cpu: '50m', memory: '96Mi', 'ephemeral-storage': '32Mi' },
    limits: { cpu: '1', memory: '512Mi', 'ephemeral-storage': '256Mi' },
  },
  sandbox: {
    requests: { cpu: '50m', memory: '128Mi', 'ephemeral-storage': '64Mi' },
    limits: { cpu: '1', memory: '1Gi', 'ephemeral-storage': '1Gi' },
  },
};

export interface PodOptions {
  readonly incident: Incident;
  readonly attempt: number;
  readonly spec: AgentClassSpec;
  readonly installation: Installation;
  /** The time that is left of the Incident's time limit, in seconds. */
  readonly secondsLeft: number;
  /** More annotations of the pod. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The pod of an attempt. It ends with the agent, because the sandbox is a native sidecar. */
export function agentPod(options: PodOptions): NewKubeObject {
  const { incident, attempt, spec, installation } = options;
  const name = attemptName(incident, attempt);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: installation.agentsNamespace,
      name,
      labels: {
        ...attemptLabels(incident, attempt),
        'app.kubernetes.io/name': 'oplab',
        'app.kubernetes.io/component': 'agent',
      },
      annotations: {
        // Scaling down a node would interrupt a repair.
        'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
        'kubectl.kubernetes.io/default-container': AGENT_CONTAINER,
        ...canaryAnnotations(options),
        ...options.annotations,
      },
    },
    spec: {
      restartPolicy: 'OnFailure',
      serviceAccountName: name,
      ...(spec.images.pullSecrets === undefined ? {} : { imagePullSecrets: spec.images.pullSecrets }),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 5,
      activeDeadlineSeconds: Math.max(1, Math.floor(options.secondsLeft)),
      ...(spec.runtimeClassName === undefined ? {} : { runtimeClassName: spec.runtimeClassName }),
      ...(spec.priorityClassName === undefined ? {} : { priorityClassName: spec.priorityClassName }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: USER,
        runAsGroup: USER,
        fsGroup: USER,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      initContainers: [sandboxContainer(options)],
      containers: [agentContainer(options)],
      volumes: [
        { name: 'socket', emptyDir: { sizeLimit: '1Mi' } },
        { name: 'tmp', emptyDir: { sizeLimit: '512Mi' } },
        { name: 'home', emptyDir: { sizeLimit: '512Mi' } },
        ...(spec.docker === undefined ? [] : [{ name: 'run', emptyDir: { sizeLimit: '16Mi' } }]),
        { name: 'gateway-ca', configMap: { name: CA_CONFIG_MAP, items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        tokenVolume('agent-token', AGENT_AUDIENCE),
        tokenVolume('sandbox-token', SANDBOX_AUDIENCE),
        ...(installation.tripwires === undefined ? [] : [CANARY_VOLUME]),
      ],
    },
  };
}

/** The canary token where an agent that looks for credentials finds it. Nothing mentions it. */
function canaryAnnotations({ incident, attempt, installation }: PodOptions): Record<string, string> {
  const { tripwires, systemNamespace } = installation;
  if (tripwires === undefined) return {};
  const text = canaryKubeconfig({
    server: `https://oplab-gateway.${systemNamespace}.svc:${ports.kube}`,
    certificateAuthorityFile: CA_FILE,
    token: canaryToken(tripwires.key, { session: sessionId(incident), attempt }),
  });
  return { [ANNOTATION_CANARY_KUBECONFIG]: text };
}

/** The container sees a file. Neither an environment variable nor a name says what it is for. */
const CANARY_VOLUME = {
  name: 'admin',
  downwardAPI: {
    items: [{ path: 'kubeconfig', fieldRef: { fieldPath: `metadata.annotations['${ANNOTATION_CANARY_KUBECONFIG}']` } }],
  },
};

/** The security context of every container: Pod Security "restricted", and a read-only root. */
const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

function agentContainer({ spec, installation }: PodOptions): object {
  return {
    name: AGENT_CONTAINER,
    image: spec.images.agent,
    imagePullPolicy: spec.images.pullPolicy,
    // The kubelet would wait longer before each restart, in the end five minutes.
    command: ['tini', '--', 'sh', '/opt/oplab/dist/keep-running.sh'],
    args: ['agent'],
    env: [
      { name: 'OPLAB_GATEWAY_URL', value: `https://oplab-gateway.${installation.systemNamespace}.svc:${ports.agent}` },
      { name: 'NODE_EXTRA_CA_CERTS', value: CA_FILE },
      { name: 'OPLAB_TOKEN_FILE', value: TOKEN_FILE },
      { name: 'OPLAB_SOCKET', value: SOCKET_PATH },
    ],
    securityContext: containerSecurity,
    resources: buildResources(spec, 'agent'),
    volumeMounts: [
      { name: 'socket', mountPath: SOCKET_FOLDER },
      { name: 'gateway-ca', mountPath: CA_FOLDER, readOnly: true },
      { name: 'agent-token', mountPath: TOKEN_FOLDER, readOnly: true },
    ],
  };
}

function sandboxContainer({ incident, spec, installation }: PodOptions): object {
  const { systemNamespace, isolationProbes } = installation;
  return {
    name: SANDBOX_CONTAINER,
    image: spec.images.sandbox,
    imagePullPolicy: spec.images.pullPolicy,
    args: ['sandbox'],
    // Makes the init container a native sidecar: it starts before the agent and ends with it.
    restartPolicy: 'Always',
    env: [
      { name: 'OPLAB_KUBE_URL', value: `https://oplab-gateway.${systemNamespace}.svc:${ports.kube}` },
      { name: 'OPLAB_TARGET_NAMESPACE', value: listTargetNamespaces(incident)[0] },
      { name: 'OPLAB_TOKEN_FILE', value: TOKEN_FILE },
      { name: 'OPLAB_CA_FILE', value: CA_FILE },
      { name: 'OPLAB_SOCKET', value: SOCKET_PATH },
      ...(spec.docker === undefined
        ? []
        : [{ name: 'OPLAB_DOCKER_URL', value: `https://oplab-gateway.${systemNamespace}.svc:${ports.docker}` }]),
      { name: 'HOST_IP', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
      ...(allowedHoles(spec).length === 0
        ? []
        : [{ name: 'OPLAB_ALLOWED_HOLES', value: allowedHoles(spec).join(',') }]),
      ...(isolationProbes === undefined || isolationProbes === ''
        ? []
        : [{ name: 'OPLAB_ISOLATION_PROBES', value: isolationProbes }]),
    ],
    // Every sandbox image contains curl, which starts thirty times faster than Node.
    startupProbe: {
      exec: { command: ['curl', '-fsS', '--max-time', '2', '--unix-socket', SOCKET_PATH, 'http://sandbox/healthz'] },
      periodSeconds: 1,
      timeoutSeconds: 3,
      failureThreshold: 60,
    },
    securityContext: containerSecurity,
    resources: buildResources(spec, 'sandbox'),
    volumeMounts: [
      // Docker commands expect their socket in /var/run, a link to /run, and the root is read-only.
      ...(spec.docker === undefined ? [] : [{ name: 'run', mountPath: '/run' }]),
      { name: 'socket', mountPath: SOCKET_FOLDER },
      { name: 'tmp', mountPath: '/tmp' },
      { name: 'home', mountPath: HOME },
      { name: 'gateway-ca', mountPath: CA_FOLDER, readOnly: true },
      { name: 'sandbox-token', mountPath: TOKEN_FOLDER, readOnly: true },
      ...(installation.tripwires === undefined ? [] : [{ name: 'admin', mountPath: CANARY_FOLDER, readOnly: true }]),
    ],
  };
}

/** A runtime of its own, such as gVisor or Kata, filters by a kernel of its own instead of seccomp. */
function allowedHoles({ isolation, runtimeClassName }: AgentClassSpec): readonly string[] {
  return [...new Set([...isolation.allowHoles, ...(runtimeClassName === undefined ? [] : ['seccomp'])])];
}

function buildResources(spec: AgentClassSpec, container: 'agent' | 'sandbox'): object {
  const wanted = spec.resources?.[container];
  const defaults = DEFAULT_RESOURCES[container];
  // A default request must not exceed a limit of the class, which Kubernetes requests instead.
  const requests = Object.entries(defaults.requests).filter(([name]) => wanted?.limits?.[name] === undefined);
  return {
    limits: { ...defaults.limits, ...wanted?.limits },
    requests: { ...Object.fromEntries(requests), ...wanted?.requests },
  };
}

function tokenVolume(name: string, audience: string): object {
  return {
    name,
    projected: {
      sources: [{ serviceAccountToken: { audience, expirationSeconds: TOKEN_SECONDS, path: 'token' } }],
    },
  };
}
