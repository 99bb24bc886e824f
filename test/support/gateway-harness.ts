// A gateway in front of a real API server and a fake model API. The test itself creates Incidents,
// pods and tokens.

import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import * as z from 'zod';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { parseEnvironment } from '../../src/environment.ts';
import { gatewayEnvironment } from '../../src/gateway/environment.ts';
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts';
import { auditAnchor } from '../../src/gateway/protocol.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { CONFIG_MAPS, INCIDENTS } from '../../src/kube/resources.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { eventually } from './eventually.ts';
import { MODEL_KEY, type ModelHandler, startModelAPI } from './fake-model-api.ts';
import { AGENTS, type Attempt, GatewayAttempts, TARGET } from './gateway-attempts.ts';
import { NAMESPACES } from './namespaces.ts';

const exec = promisify(execFile);
/** The namespace of the operator. */
export const SYSTEM = 'oplab-system';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export interface GatewayHarness extends Pick<GatewayAttempts, 'open' | 'nextAttempt' | 'incident' | 'setStatus'> {
  readonly client: KubeClient;
  gateway: Gateway;
  readonly logLines: string[];
  readonly dir: string;
  /** Replaces the handler of the model API. */
  model(handler: ModelHandler): void;
  /** A request to the agents' port. */
  ask(
    attempt: Attempt,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  /** A request that stays open. Resolves with the head of the answer. */
  stream(attempt: Attempt, path: string, body: unknown): Promise<IncomingMessage>;
  /** A plain HTTP request to the kube door. */
  kube(
    attempt: Attempt,
    method: string,
    path: string,
    headers?: Record<string, string>,
    body?: string,
  ): Promise<Answer>;
  /** Records that a command of the agent runs, unless the attempt is idle. Once per attempt. */
  runCommand(attempt: Attempt): Promise<void>;
  /** Runs kubectl through the kube door. */
  kubectl(attempt: Attempt, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** A kubeconfig that points at the kube door. */
  kubeconfig(attempt: Attempt, token?: string): Promise<string>;
  readonly kubectlBinary: string;
  entries(attempt: Attempt): Promise<Entry[]>;
  read(path: string): Promise<Answer>;
  restartGateway(): Promise<void>;
  /** Stops the gateway permanently. A test may replace it with its own. */
  stopGateway(): Promise<void>;
  close(): Promise<void>;
}

/** @param environment returns more settings for the gateway, given the harness's folder */
export async function startGatewayHarness(
  environment: (dir: string) => Promise<Record<string, string>> = async () => ({}),
): Promise<GatewayHarness> {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-gateway-'));
  const plane: ControlPlane = await startControlPlane({
    dir: path.join(dir, 'plane'),
    controllers: 'namespace-controller',
    auditLog: path.join(dir, 'api-server-audit.log'),
  });
  const kubectlBinary = await ensureTool('kubectl');
  const client = createKubeClient({ kubeconfig: plane.kubeconfig });
  await exec(kubectlBinary, [
    '--kubeconfig',
    plane.kubeconfig,
    'apply',
    '-f',
    path.join(import.meta.dirname, '../../crds'),
  ]);
  for (const name of [AGENTS, TARGET, SYSTEM])
    await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await client.create(CONFIG_MAPS, { metadata: { name: auditAnchor.name, namespace: SYSTEM } });
  await client.create(
    { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'roles', kind: 'Role', namespaced: true },
    {
      metadata: { name: 'everything', namespace: TARGET },
      rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
    },
  );
  await eventually(async () => {
    try {
      await client.list(INCIDENTS);
      return true;
    } catch {
      return undefined;
    }
  });

  const certFile = path.join(dir, 'tls.crt');
  const keyFile = path.join(dir, 'tls.key');
  await exec('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=oplab-gateway', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
    ...['-keyout', keyFile, '-out', certFile],
  ]);
  const ca = await import('node:fs/promises').then((fs) => fs.readFile(certFile, 'utf8'));
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFile(path.join(dir, 'signing.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(path.join(dir, 'api-key'), `${MODEL_KEY}\n`);
  await writeFile(path.join(dir, 'hmac-key'), `${randomBytes(32).toString('hex')}\n`);
  const more = await environment(dir);

  const modelAPI = await startModelAPI();

  const logLines: string[] = [];
  const logger = createLogger('gateway', { level: 'debug', stream: { write: (line) => void logLines.push(line) } });
  let stop = new AbortController();
  const start = () =>
    startGateway({
      environment: parseEnvironment(gatewayEnvironment, {
        OPLAB_DATA_DIR: dir,
        OPLAB_ADMIN_SOCKET: path.join(dir, 'admin.sock'),
        OPLAB_AUDIT_KEY_FILE: path.join(dir, 'hmac-key'),
        OPLAB_TLS_CERT_FILE: certFile,
        OPLAB_TLS_KEY_FILE: keyFile,
        OPLAB_SIGNING_KEY_FILE: path.join(dir, 'signing.key'),
        OPLAB_SYSTEM_NAMESPACE: SYSTEM,
        OPLAB_UPSTREAM_URL: modelAPI.url,
        OPLAB_MODEL_KEY_FILE: path.join(dir, 'api-key'),
        OPLAB_AGENT_PORT: '0',
        OPLAB_KUBE_PORT: '0',
        OPLAB_DOCKER_PORT: '0',
        OPLAB_READ_PORT: '0',
        OPLAB_HEALTH_PORT: '0',
        ...more,
      }),
      client,
      logger,
      signal: stop.signal,
      host: '127.0.0.1',
    });

  const agent = new https.Agent({ keepAlive: true, ca });
  const send = (
    attempt: Attempt,
    method: string,
    requestPath: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const request = https.request(
        {
          agent,
          host: '127.0.0.1',
          port: lab.gateway.ports.agent,
          method,
          path: requestPath,
          headers: {
            authorization: `Bearer ${attempt.agentToken}`,
            'content-type': 'application/json',
            // What the SDK of the agent sends, and the model API demands.
            'anthropic-version': '2026-10-21',
            ...headers,
          },
        },
        resolve,
      );
      request.on('error', reject);
      request.end(payload);
    });
  const readAnswer = async (response: IncomingMessage): Promise<Answer> => {
    const body = await text(response);
    let json: Record<string, unknown> = {};
    try {
      json = z.record(z.string(), z.unknown()).parse(JSON.parse(body));
    } catch {
      // The body is not JSON; its text is still available.
    }
    return { status: response.statusCode ?? 0, headers: response.headers, text: body, json };
  };

  const attempts = new GatewayAttempts(client);
  const running = new Set<string>();
  const lab: GatewayHarness = {
    client,
    gateway: await start(),
    logLines,
    dir,
    kubectlBinary,
    model: modelAPI.answer,
    open: (...given) => attempts.open(...given),
    nextAttempt: (name) => attempts.nextAttempt(name),
    incident: (name) => attempts.incident(name),
    setStatus: (name, status) => attempts.setStatus(name, status),
    async ask(attempt, method, requestPath, body, headers) {
      return await readAnswer(await send(attempt, method, requestPath, body, headers));
    },
    async stream(attempt, requestPath, body) {
      return await send(attempt, 'POST', requestPath, body);
    },
    async runCommand(attempt) {
      if (attempt.idle || running.has(attempt.podUID)) return;
      running.add(attempt.podUID);
      const { log } = lab.gateway;
      await eventually(() => log.head(attempt.session));
      const number = Number(attempt.podName.split('-').at(-1));
      await log
        .append(
          { session: attempt.session, attempt: number, writer: 'agent' },
          { clientKey: 'running', kind: 'tool_call', tool: 'shell', params: { command: 'true' }, content: '' },
        )
        // The log is sealed, or cannot be written, which is what the test is about.
        .catch(() => undefined);
    },
    async kube(attempt, method, requestPath, headers = {}, body) {
      await lab.runCommand(attempt);
      return await new Promise((resolve, reject) => {
        const request = https.request(
          {
            ...{ host: '127.0.0.1', port: lab.gateway.ports.kube, method, path: requestPath, ca, agent: false },
            headers: { authorization: `Bearer ${attempt.sandboxToken}`, ...headers },
          },
          (response) => resolve(readAnswer(response)),
        );
        request.on('error', reject);
        request.end(body);
      });
    },
    async kubeconfig(attempt, bearer = attempt.sandboxToken) {
      await lab.runCommand(attempt);
      const file = path.join(dir, `${attempt.podName}-${crypto.randomUUID()}.kubeconfig`);
      await writeFile(
        file,
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Config',
          clusters: [
            {
              name: 'door',
              cluster: { server: `https://127.0.0.1:${lab.gateway.ports.kube}`, 'certificate-authority': certFile },
            },
          ],
          users: [{ name: 'sandbox', user: { token: bearer } }],
          contexts: [{ name: 'door', context: { cluster: 'door', user: 'sandbox', namespace: TARGET } }],
          'current-context': 'door',
        }),
      );
      return file;
    },
    async kubectl(attempt, ...args) {
      const kubeconfig = await lab.kubeconfig(attempt);
      try {
        const { stdout, stderr } = await exec(
          kubectlBinary,
          ['--kubeconfig', kubeconfig, '--cache-dir', path.join(dir, 'cache'), ...args],
          { timeout: 30_000 },
        );
        return { code: 0, stdout, stderr };
      } catch (error) {
        const failed = z
          .looseObject({ code: z.number().nullable(), stdout: z.string(), stderr: z.string() })
          .parse(error);
        return { code: failed.code ?? 1, stdout: failed.stdout, stderr: failed.stderr };
      }
    },
    async entries(attempt) {
      return await lab.gateway.log.read(attempt.session, { limit: 1000 });
    },
    async read(requestPath) {
      const response = await fetch(`http://127.0.0.1:${lab.gateway.ports.read}${requestPath}`);
      const body = await response.text();
      return { status: response.status, headers: {}, text: body, json: body.startsWith('{') ? JSON.parse(body) : {} };
    },
    async restartGateway() {
      stop.abort();
      await lab.gateway.closed;
      stop = new AbortController();
      lab.gateway = await start();
    },
    async stopGateway() {
      stop.abort();
      await lab.gateway.closed;
    },
    async close() {
      stop.abort();
      agent.destroy();
      await lab.gateway.closed;
      await modelAPI.stop();
      await plane.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return lab;
}
