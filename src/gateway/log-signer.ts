// Signs the audit log as a whole and publishes what was signed in a ConfigMap; before each write, the
// log is compared with what was published before.

import { type SessionHead, type SignedNotes, signLog, type TreeHead } from '../audit/checkpoint.ts';
import type { Entry } from '../audit/entry.ts';
import { isSeal } from '../audit/hash-chain.ts';
import type { AuditLog, LogTree, SessionTree } from '../audit/log.ts';
import { AuditUnavailable, errorMessage } from '../errors.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import { backoffMs, pause } from '../net/retry.ts';
import type { Logger } from '../observability/logger.ts';
import { describeBreak } from './anchor-guard.ts';
import { fallenBehind, judgeLog, publishedSize } from './log-judgement.ts';
import type { AnchorConfigMap } from './published-anchor.ts';
import type { SigningKeys } from './signing-keys.ts';

export interface LogSignerOptions {
  readonly log: SessionTree & Pick<AuditLog, 'read' | 'head'>;
  readonly configMap: AnchorConfigMap;
  readonly keys: SigningKeys;
  readonly logger: Logger;
  /** Whether another check has found that the log of a session is broken. */
  readonly isBroken: (session: string) => boolean;
  /** Called once when the log as a whole is broken. */
  readonly onBroken: (message: string) => void;
  /** Called for each session whose log is found to be broken. */
  readonly onSessionBroken: (session: string) => void;
  readonly onWrite?: (result: 'written' | 'failed') => void;
  /** How soon after an opening or a seal to publish, in milliseconds. Default: 1000. */
  readonly leafDelayMs?: number;
  /** How soon after another entry to publish, in milliseconds. Default: 10,000. */
  readonly headDelayMs?: number;
  readonly signal: AbortSignal;
}

const BACKOFF = { baseMs: 500, maxMs: 30_000 };

/** What is known to be in the ConfigMap. */
interface Published extends TreeHead {
  readonly heads: readonly SessionHead[];
}

export class LogSigner {
  readonly #options: LogSignerOptions;
  readonly #brokenSessions = new Map<string, string>();
  /** What this process may have written since the last write that is known to have succeeded. */
  readonly #own = new Set<string>();
  #broken: string | undefined;
  #published: Published | undefined;
  #resourceVersion: string | undefined;
  #lastWritten = '';
  #notReady: string | undefined = 'the signed checkpoint of the audit log is not read yet';
  #dueAt = Number.POSITIVE_INFINITY;
  #wake: (() => void) | undefined;
  #runner: Promise<void> | undefined;
  /** Serialises the writes. */
  #lock: Promise<unknown> = Promise.resolve();

  constructor(options: LogSignerOptions) {
    this.#options = options;
  }

  /** Why the log as a whole is broken; undefined if no break is known. */
  get broken(): string | undefined {
    return this.#broken;
  }

  /** Why the log was not compared yet; undefined once it was. */
  get notReady(): string | undefined {
    return this.#notReady;
  }

  /** Why the log of one session contradicts what was signed about it. */
  reason(session: string): string | undefined {
    return this.#broken ?? this.#brokenSessions.get(session);
  }

  /** The sessions whose log is broken. */
  get brokenSessions(): string[] {
    return [...this.#brokenSessions.keys()];
  }

  /**
   * Compares the log with the ConfigMap. Tries until the ConfigMap could be read: without it, the
   * log must not be continued. @throws AuditUnavailable if the signal aborts first
   */
  async start(): Promise<void> {
    const { signal, logger } = this.#options;
    for (let failures = 1; ; failures += 1) {
      if (signal.aborted) throw new AuditUnavailable('the gateway is stopping');
      try {
        await this.#compare();
        this.#notReady = undefined;
        break;
      } catch (error) {
        this.#notReady = `the signed checkpoint of the audit log cannot be compared: ${errorMessage(error)}`;
        logger.warn({ error: errorMessage(error) }, 'the signed checkpoint cannot be compared; retrying');
        await pause(backoffMs(failures, BACKOFF), signal);
      }
    }
    if (this.#broken === undefined) this.#schedule(0);
  }

  /** Publishes soon after an entry: sooner if it opened or sealed its session. */
  appended(entry: Entry): void {
    const { leafDelayMs = 1000, headDelayMs = 10_000 } = this.#options;
    this.#schedule(entry.seq === 1 || isSeal(entry) ? leafDelayMs : headDelayMs);
  }

  /** Publishes immediately, once. For the shutdown. Never throws. */
  async flush(): Promise<void> {
    if (this.#notReady !== undefined) return;
    await this.#locked(() => this.#publish()).catch((error: unknown) => this.#warn(error));
  }

  #schedule(delayMs: number): void {
    if (this.#broken !== undefined || this.#options.signal.aborted) return;
    this.#dueAt = Math.min(this.#dueAt, performance.now() + delayMs);
    this.#wake?.();
    this.#runner ??= this.#run().finally(() => {
      this.#runner = undefined;
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    let failures = 0;
    while (this.#dueAt !== Number.POSITIVE_INFINITY && this.#broken === undefined && !signal.aborted) {
      const wait = this.#dueAt - performance.now();
      if (wait > 0) {
        await this.#sleep(wait);
        continue;
      }
      this.#dueAt = Number.POSITIVE_INFINITY;
      try {
        await this.#locked(() => this.#publish());
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#warn(error);
        this.#dueAt = performance.now() + backoffMs(failures, BACKOFF);
      }
    }
  }

  async #sleep(ms: number): Promise<void> {
    const stop = new AbortController();
    this.#wake = () => stop.abort();
    await pause(ms, AbortSignal.any([stop.signal, this.#options.signal]));
    this.#wake = undefined;
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lock.then(work, work);
    this.#lock = turn.catch(() => {});
    return turn;
  }

  #warn(error: unknown): void {
    const { logger, configMap } = this.#options;
    logger.warn(
      { error: errorMessage(error) },
      `the signed checkpoint cannot be published in ${configMap.name}; retrying`,
    );
  }

  /** The first comparison, with what another process has published. */
  async #compare(): Promise<void> {
    const { log, configMap, keys, logger } = this.#options;
    const anchor = await configMap.read();
    const tree = await log.tree(publishedSize(anchor, keys.verifiers));
    const known = await log.signedNotes('published');
    const judgement = judgeLog({
      ...{ anchor, known, tree, verifiers: keys.verifiers },
      ...{ origin: keys.signer.verifier.name, where: configMap.ref },
    });
    this.#resourceVersion = anchor?.resourceVersion;
    if (judgement.state === 'broken') {
      this.#break(judgement.message);
      return;
    }
    if (anchor?.notes !== undefined) this.#own.add(spelled(anchor.notes));
    this.#checkRows(tree);
    if (judgement.state === 'accepted') {
      logger.warn({ reason: judgement.reason }, 'an administrator has accepted the audit log as it is');
      return;
    }
    if (judgement.state === 'new') return;
    this.#published = judgement.published;
    for (const head of judgement.published.heads) {
      const [row] = await log.read(head.session, { afterSeq: head.entries - 1, limit: 1 });
      const found = { row: row?.seq === head.entries ? row : undefined, head: await log.head(head.session) };
      // Its rows were deleted after its seal, which is a leaf of the tree.
      if (found.head?.prunedAt !== undefined) continue;
      const fault = describeBreak(head, found, `the signed list of heads in ${configMap.name}`);
      if (fault !== undefined) this.#breakSession(head.session, fault);
    }
  }

  /** @throws if the log or the ConfigMap cannot be written */
  async #publish(): Promise<void> {
    const { log, configMap, keys, onWrite } = this.#options;
    if (this.#broken !== undefined) return;
    const tree = await log.tree(this.#published?.size ?? 0);
    this.#checkGrowth(tree);
    if (this.#broken !== undefined) return;
    const notes = signLog(keys.signer, tree, this.#headsToSign(tree));
    if (spelled(notes) === this.#lastWritten) return;
    await log.saveSignedNotes('signed', notes);
    try {
      if (this.#resourceVersion === undefined) await this.#readAgain();
      if (this.#broken !== undefined || this.#resourceVersion === undefined) return;
      this.#own.add(spelled(notes));
      this.#resourceVersion = await configMap.write(notes, keys.signer.verifier.vkey, this.#resourceVersion);
    } catch (error) {
      onWrite?.('failed');
      // The next try begins with what the ConfigMap holds now.
      if (isConflict(error) || isNotFound(error)) await this.#readAgain();
      throw error;
    }
    this.#own.clear();
    this.#own.add(spelled(notes));
    this.#lastWritten = spelled(notes);
    this.#published = { size: tree.size, root: tree.root, heads: this.#headsToSign(tree) };
    onWrite?.('written');
    await log.saveSignedNotes('published', notes);
  }

  /**
   * Reads the ConfigMap after a conflict. Only what this process wrote itself, perhaps without
   * having got the answer, may be in it.
   */
  async #readAgain(): Promise<void> {
    const { configMap } = this.#options;
    const anchor = await configMap.read();
    if (anchor === undefined && this.#published === undefined) {
      throw new AuditUnavailable(
        `${configMap.name} does not exist; create it: kubectl -n ${configMap.ref.namespace} create configmap ${configMap.ref.name}`,
      );
    }
    const isOurs = anchor?.notes === undefined ? this.#published === undefined : this.#own.has(spelled(anchor.notes));
    if (anchor === undefined || !isOurs) {
      this.#break(
        `${configMap.name} was ${anchor === undefined ? 'deleted' : 'changed by somebody else than the gateway'} while the gateway was running. ` +
          'The gateway gives no Incident a lease. Find out who changed it, put back the newest copy of it, and restart the gateway',
      );
      return;
    }
    this.#resourceVersion = anchor.resourceVersion;
  }

  #checkGrowth(tree: LogTree): void {
    const { configMap } = this.#options;
    const published = this.#published;
    this.#checkRows(tree);
    if (published === undefined) return;
    if (tree.prefixRoot !== published.root) {
      this.#break(
        `the audit log was changed while the gateway was running: its first ${published.size} openings and seals of sessions no longer have the root ${published.root}. ` +
          `The gateway gives no Incident a lease. Keep the file and ${configMap.name} as evidence, put back the newest copy of the file, and restart the gateway`,
      );
      return;
    }
    for (const { session, entries } of fallenBehind(published.heads, tree.heads)) {
      this.#breakSession(
        session,
        `the signed list of heads covers ${entries} entries, but the audit log has other ones`,
      );
    }
  }

  #checkRows(tree: LogTree): void {
    for (const session of tree.contradicted) {
      this.#breakSession(
        session,
        'the entries with which the session was opened or sealed are missing or were changed',
      );
    }
  }

  /** The heads of the log. Of a broken session, what was signed before it broke stays. */
  #headsToSign(tree: LogTree): SessionHead[] {
    const isBroken = (session: string) => this.#brokenSessions.has(session) || this.#options.isBroken(session);
    return [
      ...tree.heads.filter(({ session }) => !isBroken(session)),
      ...(this.#published?.heads ?? []).filter(({ session }) => isBroken(session)),
    ];
  }

  #break(message: string): void {
    if (this.#broken !== undefined) return;
    this.#broken = message;
    this.#options.logger.error({ reason: 'AuditBroken' }, message);
    this.#options.onBroken(message);
  }

  #breakSession(session: string, message: string): void {
    if (this.#brokenSessions.has(session)) return;
    this.#brokenSessions.set(session, message);
    this.#options.logger.error({ session, reason: 'AuditBroken' }, message);
    this.#options.onSessionBroken(session);
  }
}

function spelled({ checkpoint, heads }: SignedNotes): string {
  return `${checkpoint}\n${heads}`;
}
