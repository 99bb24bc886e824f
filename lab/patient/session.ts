// Access to one patient: `kubectl proxy` for queries, kubectl and helm for everything else.
import { spawn } from 'node:child_process';
import * as z from 'zod';
import { type ChildResult, run, searchPath } from '../../hack/child.ts';
import { kubeconfigPath } from '../../hack/cluster/names.ts';
import { OplabError } from '../../src/errors.ts';

/** Which patient, and in which cluster. */
export interface PatientTarget {
  readonly namespace: string;
  /** Helm release; the chart's object names begin with it as long as it contains "tikv". */
  readonly release: string;
  readonly kubeconfig: string;
  readonly signal: AbortSignal;
}

/** Where demo and tests install the patient. */
export const patientDefaults = { namespace: 'tikv', release: 'tikv' } as const;

/** The options that name the patient, for `parseArgs`. */
export const targetOptions = {
  namespace: { type: 'string', short: 'n', default: patientDefaults.namespace },
  release: { type: 'string', default: patientDefaults.release },
  kubeconfig: { type: 'string', default: process.env.KUBECONFIG ?? kubeconfigPath },
} as const;

/** The prefix of all object names of a release, as the chart's helper computes it. */
export function fullName(release: string): string {
  return (release.includes('tikv') ? release : `${release}-tikv`).slice(0, 40).replace(/-$/, '');
}

/** The API server or a service behind it failed. `status` is 0 when there was no answer. */
export class AskFailed extends Error {
  readonly status: number;
  constructor(path: string, status: number, said: string, cause?: unknown) {
    super(`${path}: ${status === 0 ? 'no answer' : `HTTP ${status}`}${said === '' ? '' : `: ${said.slice(0, 200)}`}`, {
      cause,
    });
    this.name = 'AskFailed';
    this.status = status;
  }
}

const notJson = z.unknown();

/** An open connection to a patient. */
export class PatientSession implements AsyncDisposable {
  readonly target: PatientTarget;
  readonly name: string;
  readonly #base: string;
  readonly #close: () => void;

  constructor(target: PatientTarget, base: string, close: () => void) {
    this.target = target;
    this.name = fullName(target.release);
    this.#base = base;
    this.#close = close;
  }

  /** @throws AskFailed unless the answer has a 2xx status. */
  async ask(path: string, options: { method?: string; timeoutMs?: number; body?: string } = {}): Promise<string> {
    const signal = AbortSignal.any([this.target.signal, AbortSignal.timeout(options.timeoutMs ?? 10_000)]);
    let status = 0;
    let said = '';
    try {
      const response = await fetch(`${this.#base}${path}`, {
        method: options.method ?? 'GET',
        signal,
        ...(options.body === undefined ? {} : { body: options.body, headers: { 'content-type': 'application/json' } }),
      });
      status = response.status;
      said = await response.text();
      if (response.ok) return said;
    } catch (cause) {
      this.target.signal.throwIfAborted();
      throw new AskFailed(path, status, cause instanceof Error ? cause.message : String(cause), cause);
    }
    throw new AskFailed(path, status, said.trim());
  }

  /** A JSON answer of the API server, checked. */
  async get<T>(path: string, schema: z.ZodType<T>, options: { timeoutMs?: number } = {}): Promise<T> {
    return schema.parse(notJson.parse(JSON.parse(await this.ask(path, options))));
  }

  /** Path of a service of the patient behind the API server's proxy. */
  service(suffix: 'pd' | 'load' | 'prometheus', path: string): string {
    const port = { pd: 2379, load: 8080, prometheus: 9090 }[suffix];
    return `/api/v1/namespaces/${this.target.namespace}/services/${this.name}-${suffix}:${port}/proxy${path}`;
  }

  /** Path of PD's own API. */
  pd(path: string): string {
    return this.service('pd', `/pd/api/v1${path}`);
  }

  kubectl(args: readonly string[], options: { input?: string; allowFailure?: boolean } = {}): Promise<ChildResult> {
    const { kubeconfig, namespace, signal } = this.target;
    return run('kubectl', ['--namespace', namespace, ...args], {
      env: { KUBECONFIG: kubeconfig },
      signal,
      ...options,
    });
  }

  helm(args: readonly string[], options: { allowFailure?: boolean } = {}): Promise<ChildResult> {
    const { kubeconfig, namespace, signal } = this.target;
    return run('helm', ['--namespace', namespace, ...args], { env: { KUBECONFIG: kubeconfig }, signal, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
  }
}

/** Opens a connection; `await using` closes it. */
export async function openSession(target: PatientTarget): Promise<PatientSession> {
  const child = spawn('kubectl', ['proxy', '--port=0', '--address=127.0.0.1'], {
    env: { ...process.env, KUBECONFIG: target.kubeconfig, PATH: searchPath(process.env.PATH) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const close = (): void => {
    target.signal.removeEventListener('abort', close);
    child.kill('SIGTERM');
  };
  target.signal.addEventListener('abort', close, { once: true });
  const port = await new Promise<string>((resolve, reject) => {
    let said = '';
    const hear = (chunk: Buffer): void => {
      said += chunk.toString();
      const found = /Starting to serve on 127\.0\.0\.1:(\d+)/.exec(said);
      if (found?.[1] !== undefined) resolve(found[1]);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    const fail = (cause?: unknown): void =>
      reject(
        new OplabError('OPLAB_CLUSTER_UNREACHABLE', `kubectl proxy did not start: ${said.trim() || String(cause)}`, {
          cause,
        }),
      );
    child.once('error', fail);
    child.once('exit', () => fail());
  }).catch((error: unknown) => {
    close();
    throw error;
  });
  return new PatientSession(target, `http://127.0.0.1:${port}`, close);
}
