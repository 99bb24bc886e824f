// Asks the model API about the models of each AgentClass, before an Incident needs them: at start,
// when a class or the key changes, and from time to time. Asking costs nothing.

import { type AgentClass, resolveCeilings } from '../api/agent-class.ts';
import type { Condition } from '../api/meta.ts';
import { judgeModelError, MODEL_ERROR_FIX, type ModelErrorCode } from '../api/model-error.ts';
import { canonicalModel, isKnownModel, modelFacts } from '../api/model-table.ts';
import { errorMessage, isOplabError } from '../errors.ts';
import { readAnswer } from '../net/answer-body.ts';
import { LEAST_OUTPUT_TOKENS } from './doors/model/call-charge.ts';
import type { ModelAPI } from './doors/model/upstream.ts';
import { HurriedLoop } from './hurried-loop.ts';
import { type Prices, ratesFor } from './prices.ts';

/** The type of the condition of an AgentClass. */
export const MODEL_REACHABLE = 'ModelReachable';

/** What is known about a model, or about a class with its models. */
export interface ModelState {
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message: string;
}

export interface ModelProbesOptions {
  readonly upstream: Pick<ModelAPI, 'askModel' | 'credentialDigest'>;
  readonly prices: Prices;
  readonly classes: () => readonly AgentClass[];
  /** Called when the state of a class has changed. */
  readonly onChange: () => void;
  readonly redact: (text: string) => string;
  readonly signal: AbortSignal;
  /** For tests. How often is looked whether something is due, in milliseconds. */
  readonly tickMs?: number;
}

const TICK_MS = 10_000;
/** How long an answer is good for, in milliseconds: one that is no yes may soon be another. */
const GOOD_MS = 600_000;
const BAD_MS = 60_000;
const ANSWER_MS = 20_000;
/** A warning begins so long before the end of life of a model, in milliseconds. */
const WARN_MS = 60 * 86_400_000;
/** The tokens of the first prompt of a session, which no class can make shorter. */
const FIRST_PROMPT_TOKENS = 8000;

interface Answer {
  readonly state: ModelState;
  readonly at: number;
}

export class ModelProbes {
  readonly #options: ModelProbesOptions;
  readonly #answers = new Map<string, Answer>();
  #key: string | undefined;
  readonly #loop = new HurriedLoop();

  constructor(options: ModelProbesOptions) {
    this.#options = options;
  }

  /** Looks soon, for example because a class has changed. */
  hurry(): void {
    this.#loop.hurry();
  }

  /** Asks what is due, until the signal aborts. */
  run(): Promise<void> {
    const { signal, tickMs = TICK_MS } = this.#options;
    return this.#loop.run(() => this.look(), tickMs, signal);
  }

  /** Asks about each model that is due, one after the other. */
  async look(): Promise<void> {
    const { upstream, classes, onChange } = this.#options;
    const key = await upstream.credentialDigest();
    if (key !== this.#key) this.#answers.clear();
    this.#key = key;
    const models = new Set(classes().flatMap(modelsOf));
    for (const model of this.#answers.keys()) if (!models.has(model)) this.#answers.delete(model);
    for (const model of models) {
      const before = this.#answers.get(model);
      const goodFor = before?.state.status === 'True' ? GOOD_MS : BAD_MS;
      if (before !== undefined && performance.now() - before.at < goodFor) continue;
      const state = await this.#ask(model);
      this.#answers.set(model, { state, at: performance.now() });
      if (state.status !== before?.state.status || state.message !== before.state.message) onChange();
    }
  }

  /** The state of a class; undefined until its models were asked about. */
  state(agentClass: AgentClass): ModelState | undefined {
    const problem = findProblem(agentClass, this.#options.prices);
    if (problem !== undefined) return problem;
    const states = modelsOf(agentClass).map((model) => this.#answers.get(model)?.state);
    const known = states.filter((state) => state !== undefined);
    if (known.length < states.length) return undefined;
    const bad = known.find(({ status }) => status === 'False') ?? known.find(({ status }) => status === 'Unknown');
    return bad ?? reachable(agentClass);
  }

  async #ask(model: string): Promise<ModelState> {
    const { upstream, redact, signal } = this.#options;
    try {
      const until = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
      const answer = await upstream.askModel(model, until);
      if (answer === undefined) return { status: 'Unknown', reason: 'NotTold', message: NOT_TOLD };
      const status = answer.statusCode ?? 0;
      const body = (await readAnswer(answer, 64 * 1024, { wholeMs: ANSWER_MS, signal: until })).toString('utf8');
      if (status < 300) return { status: 'True', reason: 'Reachable', message: '' };
      return judgeAnswer(model, status, body, redact);
    } catch (error) {
      const isRefused = isOplabError(error) && error.code === 'OPLAB_MODEL_KEY_REFUSED';
      return {
        status: 'False',
        reason: isRefused ? 'KeyRefused' : 'Unreachable',
        message: redact(errorMessage(error)),
      };
    }
  }
}

const NOT_TOLD = 'the model API does not tell which models it has, so the first Incident will show it';

/** A server that says so knows its models; others only say that they have no such path. */
const MODEL_MISSING = /"not_found_error"|\bmodel\b.{0,150}(?:does not exist|not found)/i;

/** Every other code says nothing about a model that was only asked about. */
const REASONS: Partial<Record<ModelErrorCode, string>> = {
  OPLAB_MODEL_KEY_REFUSED: 'KeyRefused',
  OPLAB_MODEL_ACCOUNT: 'AccountLimited',
  OPLAB_MODEL_UNKNOWN: 'ModelUnknown',
};

function judgeAnswer(model: string, status: number, body: string, redact: (text: string) => string): ModelState {
  const { code, message } = judgeModelError({ status, body, redact });
  const said = `it says about ${model} (${status}): ${message}`;
  if (code === undefined) return { status: 'Unknown', reason: 'Busy', message: said };
  // Servers that imitate the API often have no such path, and say so in words of their own.
  const isMissingPath = code === 'OPLAB_MODEL_UNKNOWN' && !MODEL_MISSING.test(body);
  const reason = REASONS[code];
  if (isMissingPath || reason === undefined) {
    return { status: 'Unknown', reason: 'NotTold', message: `${NOT_TOLD}; ${said}` };
  }
  return { status: 'False', reason, message: `${MODEL_ERROR_FIX[code]}; ${said}` };
}

function modelsOf({ spec }: AgentClass): string[] {
  const { name, summaryName, fallbackName } = spec.model;
  return [...new Set([name, summaryName, ...(fallbackName === undefined ? [] : [fallbackName])])];
}

/** Why agents of a class cannot work, whatever the model API says; undefined if they can. */
function findProblem(agentClass: AgentClass, prices: Prices): ModelState | undefined {
  const { model } = agentClass.spec;
  const no = (reason: string, message: string): ModelState => ({ status: 'False', reason, message });
  for (const name of modelsOf(agentClass)) {
    if (prices.get(name) !== undefined) continue;
    return no(
      'NoPrice',
      `model ${name} has no price, so its cost cannot be limited; add it to model.prices of the chart`,
    );
  }
  const most = modelFacts(model.name).maxOutputTokens;
  if (isKnownModel(model.name) && model.maxOutputTokens > most) {
    return no(
      'OutputTooLong',
      `spec.model.maxOutputTokens: ${model.maxOutputTokens} is more than the ${most} that ${model.name} makes; lower it`,
    );
  }
  const price = prices.get(model.name);
  if (price === undefined) return undefined;
  const { maxCostMilliUSD, maxTokens } = resolveCeilings(agentClass.spec);
  const { cacheWrite, output } = ratesFor(price, FIRST_PROMPT_TOKENS);
  const cost = Math.ceil((FIRST_PROMPT_TOKENS * cacheWrite + LEAST_OUTPUT_TOKENS * output) / 1000);
  if (cost > maxCostMilliUSD) {
    return no(
      'LimitTooLow',
      `spec.ceilings.maxCostMilliUSD: ${maxCostMilliUSD} is too low for one call, which needs ${cost}`,
    );
  }
  const tokens = FIRST_PROMPT_TOKENS + LEAST_OUTPUT_TOKENS;
  if (tokens <= maxTokens) return undefined;
  return no('LimitTooLow', `spec.ceilings.maxTokens: ${maxTokens} is too low for one call, which needs ${tokens}`);
}

function reachable(agentClass: AgentClass): ModelState {
  const models = modelsOf(agentClass);
  const ending = models.flatMap((model) => {
    const { endOfLife } = modelFacts(model);
    if (endOfLife === undefined || Date.parse(endOfLife) - Date.now() > WARN_MS) return [];
    return [`the vendor ends ${canonicalModel(model)} on ${endOfLife}: choose another model`];
  });
  const message = ending.length > 0 ? ending.join('; ') : `the model API has ${models.join(' and ')}`;
  return { status: 'True', reason: ending.length > 0 ? 'EndOfLife' : 'Reachable', message };
}
