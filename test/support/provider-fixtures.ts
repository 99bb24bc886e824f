// What tests of providers share: files that look like mounted Secrets, a cluster that signs tokens, and
// doubles that are closed in the end.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeAuthority } from './authority.ts';
import type { KeyPair } from './certificates.ts';
import { signToken } from './json-web-token.ts';
import { type ProviderDouble, startProviderDouble, startProxy, type Wall } from './provider-doubles.ts';

/** The ServiceAccount of the gateway, as its tokens name it. */
export const SUBJECT = 'system:serviceaccount:oplab-system:oplab-gateway';

export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

export class ProviderFixtures {
  readonly #dir = mkdtemp(path.join(tmpdir(), 'oplab-providers-'));
  readonly #started: { close(): Promise<void> }[] = [];
  readonly #cluster = generateKeyPairSync('rsa', { modulusLength: 2048 });

  /** The key with which the cluster signs tokens. */
  get clusterKey(): KeyObject {
    return this.#cluster.publicKey;
  }

  /** A token of the gateway's ServiceAccount. */
  podToken(aud: string, more: object = {}, key = this.#cluster.privateKey): string {
    return signToken({ iss: 'https://cluster', sub: SUBJECT, aud: [aud], exp: inSeconds(600), ...more }, key);
  }

  /** A new folder with these files. */
  async files(contents: Readonly<Record<string, string>>): Promise<string> {
    const home = await mkdtemp(path.join(await this.#dir, 'secret-'));
    for (const [name, content] of Object.entries(contents)) await writeFile(path.join(home, name), content);
    return home;
  }

  /** The path of a new file. */
  async file(content: string): Promise<string> {
    return path.join(await this.files({ file: content }), 'file');
  }

  /** A server that only answers by itself. */
  async double(wall: Wall, tls?: KeyPair): Promise<ProviderDouble> {
    const started = await startProviderDouble({ wall, ...(tls === undefined ? {} : { tls }) });
    this.#started.push(started);
    return started;
  }

  /** A double that only the proxy of the gateway reaches, with a certificate of a private CA. */
  async behindProxy(wall: Wall) {
    const authority = makeAuthority('private');
    const hosts = ['oauth2.googleapis.com', 'sts.googleapis.com', 'sts.eu-west-1.amazonaws.com'];
    const hidden = await this.double(wall, authority.issue('public', 1, hosts));
    const proxy = await startProxy(hidden.port);
    this.#started.push(proxy);
    const OPLAB_UPSTREAM_CA_FILE = await this.file(authority.cert);
    return { hidden, proxy, way: { OPLAB_UPSTREAM_PROXY: proxy.url, OPLAB_UPSTREAM_CA_FILE } };
  }

  async close(): Promise<void> {
    for (const one of this.#started) await one.close();
    await rm(await this.#dir, { recursive: true, force: true });
  }
}
