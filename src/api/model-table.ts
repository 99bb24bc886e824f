// What oplab knows about Claude's models: prices, windows, output limits, thinking and effort.
//
// Source: the vendor's pages of models, prices, effort and deprecations (platform.claude.com/docs), as
// of November 2026, and the types of the SDK. A test compares the names with those types.

/** Rates in US dollars per million tokens. */
export interface Rates {
  readonly input: number;
  readonly output: number;
  /** Default: a tenth of `input`. */
  readonly cacheRead?: number | undefined;
  /** Writes with a lifetime of five minutes. Default: 1.25 times `input`. */
  readonly cacheWrite?: number | undefined;
  /** Writes with a lifetime of an hour. Default: twice `input`. */
  readonly cacheWrite1h?: number | undefined;
}

/** The rates of one model. */
export interface Price extends Rates {
  /**
   * Rates for a request whose prompt, including cache reads and writes, is longer than
   * `overTokens`.
   */
  readonly longPrompt?: (Rates & { readonly overTokens: number }) | undefined;
}

/** The levels of `output_config.effort`, from the cheapest on. */
export const EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof EFFORTS)[number];

/**
 * Which `thinking` parameter a model accepts. `adaptive`: the model decides, and cannot be told not
 * to; `optional`: adaptive, and `disabled` is accepted; `none`: not adaptive.
 */
export type Thinking = 'adaptive' | 'optional' | 'none';

export interface ModelFacts {
  /** Undefined if the vendor publishes none. A class whose model has no price cannot be used. */
  readonly price?: Price;
  /** The context window in tokens. */
  readonly contextWindow: number;
  /** The largest `max_tokens` that the API accepts. */
  readonly maxOutputTokens: number;
  readonly thinking: Thinking;
  /** The accepted levels of effort; none if the parameter is refused. */
  readonly efforts: readonly Effort[];
  /** The day after which the API refuses the model, as YYYY-MM-DD. */
  readonly endOfLife?: string;
}

const RECENT = { contextWindow: 1_000_000, maxOutputTokens: 128_000, efforts: EFFORTS } as const;
const ADAPTIVE = { ...RECENT, thinking: 'adaptive' } as const;
const OPTIONAL = { ...RECENT, thinking: 'optional' } as const;
/** Claude 4.5: a window of 200,000 tokens, and thinking with a fixed budget, which oplab does not use. */
const OLDER = { contextWindow: 200_000, maxOutputTokens: 64_000, thinking: 'none' } as const;
const NO_XHIGH: readonly Effort[] = ['low', 'medium', 'high', 'max'];

/** Opus 4.5 to 5. */
const OPUS: Price = { input: 5, output: 25, cacheRead: 0.5, cacheWrite: 6.25, cacheWrite1h: 10 };
/** Fable 5 and Mythos 5; of the versions 5.1, reads cost a quarter. */
const FABLE: Price = { input: 10, output: 50, cacheRead: 1, cacheWrite: 12.5, cacheWrite1h: 20 };
const SONNET_4: Price = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75, cacheWrite1h: 6 };

/** By the model's name without a date. */
export const MODEL_TABLE: Readonly<Record<string, ModelFacts>> = {
  'claude-opus-5-5': {
    ...ADAPTIVE,
    price: { input: 4, output: 20, cacheRead: 0.2, cacheWrite: 5, cacheWrite1h: 8 },
  },
  'claude-opus-5': { ...OPTIONAL, price: OPUS },
  'claude-opus-4-8': { ...OPTIONAL, price: OPUS },
  'claude-opus-4-7': { ...OPTIONAL, price: OPUS },
  'claude-opus-4-6': { ...OPTIONAL, efforts: NO_XHIGH, price: OPUS },
  'claude-opus-4-5': { ...OLDER, efforts: ['low', 'medium', 'high'], price: OPUS, endOfLife: '2027-01-22' },
  'claude-sonnet-5-5': {
    ...OPTIONAL,
    price: { input: 2, output: 10, cacheRead: 0.1, cacheWrite: 2.5, cacheWrite1h: 4 },
  },
  'claude-sonnet-5': {
    ...OPTIONAL,
    price: { input: 2, output: 10, cacheRead: 0.2, cacheWrite: 2.5, cacheWrite1h: 4 },
  },
  'claude-sonnet-4-6': { ...OPTIONAL, efforts: NO_XHIGH, price: SONNET_4 },
  'claude-sonnet-4-5': { ...OLDER, efforts: [], price: SONNET_4, endOfLife: '2026-11-30' },
  'claude-haiku-5-5': {
    ...OPTIONAL,
    price: {
      input: 0.1,
      output: 0.5,
      cacheRead: 0.01,
      cacheWrite: 0.125,
      cacheWrite1h: 0.2,
      longPrompt: {
        overTokens: 100_000,
        input: 0.5,
        output: 2.5,
        cacheRead: 0.05,
        cacheWrite: 0.625,
        cacheWrite1h: 1,
      },
    },
  },
  'claude-haiku-4-5': {
    ...OLDER,
    efforts: [],
    price: { input: 1, output: 5, cacheRead: 0.1, cacheWrite: 1.25, cacheWrite1h: 2 },
  },
  'claude-fable-5-2': {
    ...ADAPTIVE,
    price: { input: 8, output: 40, cacheRead: 0.2, cacheWrite: 10, cacheWrite1h: 16 },
  },
  'claude-fable-5-1': { ...ADAPTIVE, price: { ...FABLE, cacheRead: 0.25 } },
  'claude-fable-5': { ...ADAPTIVE, price: FABLE },
  // By invitation. The vendor says of two of them that they cost what Fable of the version costs.
  'claude-mythos-5-2': ADAPTIVE,
  'claude-mythos-5-1': { ...ADAPTIVE, price: { ...FABLE, cacheRead: 0.25 } },
  'claude-mythos-5': { ...ADAPTIVE, price: FABLE },
  'claude-mythos-preview': { ...ADAPTIVE, efforts: NO_XHIGH },
  // The stand-in for demos and tests costs nothing.
  'rehearsal-1': {
    contextWindow: 200_000,
    maxOutputTokens: 128_000,
    thinking: 'optional',
    efforts: [],
    price: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0 },
  },
};

/** What is assumed of a model that nobody describes: little. */
const UNKNOWN: ModelFacts = { contextWindow: 128_000, maxOutputTokens: 128_000, thinking: 'none', efforts: [] };
/** What is assumed of a Claude model that is not in the table. If it is wrong about thinking, the agent asks without. */
const NEWER_CLAUDE: ModelFacts = { ...OPTIONAL, efforts: ['low', 'medium', 'high'] };
const OLDER_CLAUDE: ModelFacts = { ...UNKNOWN, contextWindow: 200_000 };

/**
 * The name in the table of a model as it is called at Anthropic, Amazon Bedrock, Vertex AI or
 * OpenRouter: without ARN, region, vendor, date and revision, whatever its case. A deployment that
 * somebody named stays as it is.
 *
 * @example canonicalModel('us.anthropic.claude-opus-4-5-20251101-v1:0') // 'claude-opus-4-5'
 */
export function canonicalModel(id: string): string {
  const bare = id
    .trim()
    .toLowerCase()
    .replace(/^(?:arn:[\w-]*:bedrock:[\w-]*:\d*:)?(?:~?[\w.-]+\/)*(?:(?:[a-z-]+\.)?anthropic\.)?(?=claude-)/, '');
  if (!bare.startsWith('claude-')) return id;
  const name = bare
    .replace(/-v\d+(?::\d+)?(?::\d+k)?$/, '')
    .replace(/:[a-z]+$/, '')
    .replace(/@(?:\d{8}|default|latest)$/, '')
    .replace(/-(?:\d{8}|latest)$/, '')
    .replace(/(\d)\.(\d)/, '$1-$2');
  // `claude-opus-4` at some places is `claude-opus-4-0` at others.
  return name.replace(/-0$/, '');
}

/** Whether the table has the model, by whatever name. */
export function isKnownModel(id: string): boolean {
  return Object.hasOwn(MODEL_TABLE, canonicalModel(id));
}

/** What is known about a model, by whatever name; what is assumed of it if nothing is. */
export function modelFacts(id: string): ModelFacts {
  const name = canonicalModel(id);
  if (Object.hasOwn(MODEL_TABLE, name)) return MODEL_TABLE[name] ?? UNKNOWN;
  if (!name.startsWith('claude-')) return UNKNOWN;
  const [, major] = /^claude-[a-z]+-(\d+)(?:-|$)/.exec(name) ?? [];
  return Number(major) >= 5 ? NEWER_CLAUDE : OLDER_CLAUDE;
}
