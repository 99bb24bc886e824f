// A signed audit log behind the gateway's read API, for tests of what the command line says about it.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { type SignedNotes, signLog } from '../../src/audit/checkpoint.ts';
import { type NoteSigner, parseSigner } from '../../src/audit/signed-note.ts';
import type { AuditStore } from '../../src/audit/store.ts';
import type { AuditReader } from '../../src/cli/reader/audit-reader.ts';
import { openGatewayReader } from '../../src/cli/reader/gateway-reader.ts';
import { LiveOutput } from '../../src/gateway/live-output.ts';
import { createReadApi } from '../../src/gateway/read-api/server.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { openLogInThisThread } from './log-in-this-thread.ts';

/** A key that is as good as new. */
export const newSigner = (name = 'oplab.dev/audit'): NoteSigner =>
  parseSigner(
    name,
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'test',
  );

/** A new log for each test of the file. */
export function useSignedLog(): SignedLog {
  const served = new SignedLog();
  beforeEach(() => served.start());
  afterEach(() => served.stop());
  return served;
}

class SignedLog {
  readonly signer = newSigner();
  #directory = '';
  #log: AuditStore | undefined;
  #server: Server | undefined;
  #port = 0;

  /** A file of the test. */
  readonly at = (name: string): string => path.join(this.#directory, name);

  /** The log, in the file `audit.db`. */
  get log(): AuditStore {
    if (this.#log === undefined) throw new Error('the log is not open');
    return this.#log;
  }

  /** Reads the log as the command line does. */
  readonly reader = (): Promise<AuditReader> | AuditReader =>
    openGatewayReader({
      connect: async () => ({ url: `http://127.0.0.1:${this.#port}`, close: async () => undefined }),
      retryMs: 10,
    });

  /** Signs the log as it is. */
  async sign(): Promise<SignedNotes> {
    const tree = await this.log.tree(0);
    const notes = signLog(this.signer, tree, tree.heads);
    await this.log.saveSignedNotes('signed', notes);
    return notes;
  }

  /** Closes the log while `work` runs. */
  async whileClosed(work: () => Promise<void>): Promise<void> {
    await this.log.close();
    await work();
    this.#log = await openLogInThisThread({ path: this.at('audit.db') });
  }

  async start(): Promise<void> {
    this.#directory = await mkdtemp(path.join(tmpdir(), 'oplab-signed-'));
    this.#log = await openLogInThisThread({ path: this.at('audit.db') });
    // The log may be opened again while the server runs.
    const current = new Proxy(this.#log, {
      get: (_, key) => {
        const value: unknown = Reflect.get(this.log, key);
        return typeof value === 'function' ? value.bind(this.log) : value;
      },
    });
    this.#server = createReadApi({
      ...{ log: current, publicKey: this.signer.verifier.vkey, live: new LiveOutput((text) => text) },
      ...{ logger: createLogger('test'), signal: new AbortController().signal },
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
    await this.log.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
