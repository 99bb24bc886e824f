// The shapes of secrets in text. Each rule says what comes before a secret and which alphabet the secret is written in.
//
// Redaction destroys evidence, so a rule can only take characters of its alphabet. No alphabet
// holds a blank, a line break, a quote or a character with which a shell ends a word, and
// therefore no rule can take the rest of a command. The price: of a passphrase with blanks, only
// the first word is hidden. Digests, uids, store ids and certificates are ordinary output and stay.

/**
 * The characters that a secret of a kind can have. This is the whole list: a rule names one of
 * these and cannot bring its own.
 */
const ALPHABETS = {
  base64: '[A-Za-z0-9+/=]',
  base64url: '[A-Za-z0-9_-]',
  hex: '[A-Fa-f0-9]',
  jwt: '[A-Za-z0-9_.-]',
  /** RFC 6750's b64token, which HTTP credentials use. */
  token: '[A-Za-z0-9._~+/=-]',
  percentBase64: '[A-Za-z0-9+/%=]',
  /** A part of a query or of a list of assignments. */
  parameter: '(?:[A-Za-z0-9._~+/=@:%^*!?#-]|\\$(?![A-Za-z_({\'"`]))',
  /** What people type as a password, without what a shell would act on. */
  password: '(?:[A-Za-z0-9._~+/=@:%^*!?#,\\]-]|\\[(?!redacted:)|\\$(?![A-Za-z_({\'"`]))',
  /** The user part of a URL ends at a slash. */
  urlPassword: '(?:[A-Za-z0-9._~+=:%^*!?#,-]|\\$(?![A-Za-z_({\'"`]))',
} as const;

type Alphabet = keyof typeof ALPHABETS;

/** A shape of secrets. Patterns are sources of regular expressions without capturing groups. */
interface Shape {
  readonly name: string;
  /** What the placeholder calls the secret. */
  readonly kind: string;
  /** What precedes the secret. It stays on the record. */
  readonly before?: string;
  readonly alphabet: Alphabet;
  readonly min?: number;
  readonly max?: number;
  /** A lookahead at the beginning of the secret, for shapes that need more than an alphabet. */
  readonly require?: string;
  /** A lookahead at the end of the secret. */
  readonly after?: string;
  readonly flags?: 'g' | 'gi' | 'gm' | 'gim';
  /** Words such as `true`, and paths, can stand where a secret could; they stay. */
  readonly mayBeHarmless?: true;
  /** Encoders break their output into lines: those that follow belong to the secret as well. */
  readonly wraps?: true;
}

/** A shape, ready to be applied. */
export interface RedactionRule {
  readonly name: string;
  readonly redact: (text: string) => string;
}

/** What replaces a secret of this many characters. No rule matches it, so redaction is idempotent. */
export function placeholder(kind: string, length: number): string {
  return `[redacted:${kind}:${length}]`;
}

/** Values that are no secret although they stand where one could. */
const HARMLESS =
  /^(?:true|false|null|nil|none|undefined|yes|no|required|missing|invalid|expired|unset|\*+|[x.]{3,}|-|[%/~].*)$/i;

/** An end of line, also escaped as in JSON, and JSON inside JSON. */
export const LINE_END = '(?:\\r?\\n|\\\\{1,8}[nr])';
/**
 * A line of something encoded. Sixteen characters, in base64 of both cases: other lines stay, so
 * that a one-word command below a secret is not taken for a part of it.
 */
const BASE64_LINE = `(?:${LINE_END})+[ \\t]*(?=[a-z0-9+/=]*[A-Z])(?=[A-Z0-9+/=]*[a-z])[A-Za-z0-9+/=]{16,128}`;
const HEX_LINE = `(?:${LINE_END})+[ \\t]*[A-Fa-f0-9]{16,128}(?![A-Za-z0-9])`;
const LINE_PARTS = new RegExp(`((?:${LINE_END})+[ \\t]*|^)(${ALPHABETS.base64}+)`, 'g');

/** Masks each line of something encoded. The ends of lines stay. */
function maskLines(kind: string, text: string): string {
  return text.replace(LINE_PARTS, (_line, start: string, found: string) => start + placeholder(kind, found.length));
}

function compile(shape: Shape): RedactionRule {
  const { name, kind, before = '', alphabet, min = 1, max, require = '', after = '', flags = 'g', wraps } = shape;
  const first = `${ALPHABETS[alphabet]}{${min},${max ?? ''}}`;
  const secret = wraps ? `${first}(?:${alphabet === 'hex' ? HEX_LINE : BASE64_LINE}){0,1024}` : first;
  const pattern = new RegExp(`(${before})${require}(${secret})${after}`, flags);
  const mask = (match: string, kept: string, found: string) =>
    shape.mayBeHarmless && HARMLESS.test(found)
      ? match
      : kept + (wraps ? maskLines(kind, found) : placeholder(kind, found.length));
  return { name, redact: (text) => text.replace(pattern, mask) };
}

/** Names whose value is a secret, as the end of a longer name: DB_PASSWORD, clientSecret, aws_secret_access_key. */
const SECRET_NAME =
  '(?:passwd|password|passphrase|pwd|client[_-]?secret|secret[_-]?key|secret[_-]?access[_-]?key|private[_-]?key|api[_-]?key|apikey|access[_-]?token|refresh[_-]?token|auth[_-]?token|id[_-]?token|identitytoken|session[_-]?token|account[_-]?key|token|secret)';

/** Bare `secret` names an object far more often than a value. */
const SECRET_MEMBER = `[\\w.-]*(?:(?<=\\w)secret|(?!secret\\\\{0,8}["']?:)${SECRET_NAME})`;

/** Names that ordinary messages use too: "token: file does not exist". */
const SPOKEN_NAME = '[\\w.-]*(?:token|\\wsecret)';

const secretName = new RegExp(`^[\\w.-]*${SECRET_NAME}$`, 'i');

/** Whether the string under this key of an object is a secret by its name. */
export function isSecretName(key: string): boolean {
  return secretName.test(key) && !/^secret$/i.test(key);
}

const HEADERS = '(?:proxy-)?authorization|x-api-key|x-auth-token|x-vault-token|(?:set-)?cookie';
const SCHEMES = 'bearer|basic|negotiate|digest|token|apikey';
/** A quote, also escaped as in JSON inside JSON. */
const QUOTE = '\\\\{0,8}["\']?';

const SHAPES: readonly Shape[] = [
  {
    // "-----BEGIN PRIVATE", "-----BEGIN RSA PRI…", "-----BEGIN EC PRI…" and so on, in base64.
    name: 'pem-base64',
    kind: 'private-key',
    before: 'LS0tLS1CRUdJTiB(?:QUklWQVRF|SU0EgUFJJVkFUR|FQyBQUklWQVRF|PUEVOU1NIIFBSSVZBVE|FTkNSWVBURUQgUFJJVkFUR)',
    alphabet: 'base64',
    wraps: true,
  },
  { name: 'anthropic-key', kind: 'api-key', before: '(?<![A-Za-z0-9])sk-ant-', alphabet: 'base64url', min: 16 },
  {
    name: 'sk-key',
    kind: 'api-key',
    before: '(?<![A-Za-z0-9_-])sk-(?:proj-|svcacct-|or-v1-)?',
    require: '(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])',
    alphabet: 'base64url',
    min: 32,
  },
  {
    name: 'jwt',
    kind: 'jwt',
    before: '(?<![A-Za-z0-9_-])',
    require: '(?=eyJ[A-Za-z0-9_-]{8,}\\.eyJ[A-Za-z0-9_-]{8,})',
    alphabet: 'jwt',
  },
  {
    // `base64 /var/run/secrets/…/token`: "eyJhbGciOi", which begins a JWT, at each of the three offsets.
    name: 'jwt-base64',
    kind: 'jwt',
    before: 'ZXlKaGJHY2lPa|V5SmhiR2NpT2|leUpoYkdjaU9p',
    alphabet: 'base64',
    min: 16,
    wraps: true,
  },
  {
    // The same of `xxd -p`.
    name: 'jwt-hex',
    kind: 'jwt',
    before: '65794a68624763694f69',
    alphabet: 'hex',
    min: 16,
    flags: 'gi',
    wraps: true,
  },
  { name: 'docker-config', kind: 'docker-auth', before: 'eyJhdXRocyI6', alphabet: 'base64', wraps: true },
  {
    name: 'docker-auth',
    kind: 'docker-auth',
    before: '"auth\\\\{0,8}"\\s*:\\s*\\\\{0,8}"',
    alphabet: 'base64',
    min: 8,
  },
  {
    name: 'aws-key-id',
    kind: 'cloud-key',
    before: '(?<![A-Za-z0-9])(?:AKIA|ASIA)',
    require: '(?=[0-9A-Z]{16}(?![A-Za-z0-9]))',
    alphabet: 'base64url',
    min: 16,
    max: 16,
  },
  {
    name: 'google-api-key',
    kind: 'cloud-key',
    before: '(?<![A-Za-z0-9_-])AIza',
    alphabet: 'base64url',
    min: 35,
    max: 35,
    after: '(?![A-Za-z0-9_-])',
  },
  { name: 'google-oauth', kind: 'cloud-key', before: '(?<![A-Za-z0-9_-])ya29\\.', alphabet: 'base64url', min: 20 },
  {
    name: 'azure-account-key',
    kind: 'cloud-key',
    before: '(?:AccountKey=|SharedAccessKey=|[?&]sig=)',
    alphabet: 'percentBase64',
    min: 20,
  },
  ...[
    ['gh[pousr]_', 36],
    ['github_pat_', 22],
    ['glpat-', 20],
    ['xox[abeprs]-', 10],
    ['npm_', 36],
    ['dckr_pat_', 20],
    ['dop_v1_', 64],
    ['hvs\\.', 20],
    ['[rs]k_live_', 20],
  ].map(
    ([prefix, min]): Shape => ({
      name: `vendor-token ${prefix}`,
      kind: 'token',
      before: `(?<![A-Za-z0-9_-])${prefix}`,
      alphabet: 'base64url',
      min: Number(min),
    }),
  ),
  {
    // `authorization: Bearer …`; a scheme is a known word, never just the first of two.
    name: 'header-with-scheme',
    kind: 'header',
    before: `(?<![\\w-])(?:${HEADERS})${QUOTE}\\s*:[ \\t]*${QUOTE}(?:${SCHEMES})[ \\t]+`,
    alphabet: 'token',
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    name: 'header',
    kind: 'header',
    before: `(?<![\\w-])(?:${HEADERS})${QUOTE}\\s*[:=][ \\t]*${QUOTE}`,
    require: `(?!(?:${SCHEMES})[ \\t])`,
    alphabet: 'token',
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    name: 'bearer',
    kind: 'bearer',
    before: '(?<![\\w=])bearer[ \\t]+',
    require: '(?=[A-Za-z0-9._~+/=-]*[0-9])',
    alphabet: 'token',
    min: 16,
    flags: 'gi',
  },
  {
    name: 'url-password',
    kind: 'password',
    before: '://[^\\s:/@"\']{0,128}:',
    alphabet: 'urlPassword',
    max: 256,
    after: '(?=@)',
    mayBeHarmless: true,
  },
  {
    name: 'curl-user',
    kind: 'password',
    before: '\\scurl\\s(?:[^\\n|;&]{0,200}?\\s)??(?:-u|--user)[ \\t=]*["\']?[^\\s:"\']{1,128}:',
    alphabet: 'password',
    max: 256,
    mayBeHarmless: true,
  },
  {
    // An environment variable of a pod: the name says that the value beside it is a secret.
    name: 'env-json',
    kind: 'value',
    before: `\\\\{0,8}"name\\\\{0,8}"\\s*:\\s*\\\\{0,8}"[\\w.-]*${SECRET_NAME}\\\\{0,8}"\\s*,\\s*\\\\{0,8}"value\\\\{0,8}"\\s*:\\s*\\\\{0,8}"`,
    alphabet: 'password',
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    name: 'env-yaml',
    kind: 'value',
    before: `^[ \\t]*(?:- )?name:[ \\t]*["']?[\\w.-]*${SECRET_NAME}["']?[ \\t]*\\r?\\n[ \\t]*value:[ \\t]*["']?`,
    alphabet: 'password',
    flags: 'gim',
    mayBeHarmless: true,
  },
  {
    // "password": "…", also inside a string that is itself JSON (\"password\": \"…\").
    name: 'json-pair',
    kind: 'value',
    before: `\\\\{0,8}"${SECRET_MEMBER}\\\\{0,8}"\\s*:\\s*\\\\{0,8}"`,
    alphabet: 'password',
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    // password: … at the start of a line of YAML or a properties file.
    name: 'yaml-pair',
    kind: 'value',
    before: `^[ \\t]*(?:- )?["']?(?!${SPOKEN_NAME}["']?:)${SECRET_MEMBER}["']?:[ \\t]+["']?`,
    alphabet: 'password',
    flags: 'gim',
    mayBeHarmless: true,
  },
  {
    name: 'yaml-pair-alone',
    kind: 'value',
    before: `^[ \\t]*(?:- )?["']?(?=${SPOKEN_NAME}["']?:)${SECRET_MEMBER}["']?:[ \\t]+["']?`,
    alphabet: 'password',
    after: '(?=["\']?[ \\t\\r]*$)',
    flags: 'gim',
    mayBeHarmless: true,
  },
  {
    name: 'password-colon',
    kind: 'password',
    before: '\\b(?:password|passwd|passphrase)[ \\t]{0,2}:[ \\t]{1,2}["\']?',
    alphabet: 'parameter',
    min: 3,
    max: 256,
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    // password=…, --token=…, DB_PASSWORD='…', PHPSESSID=…; in a query string the value ends at &.
    name: 'equals-pair',
    kind: 'value',
    before: `(?:${SECRET_NAME}|sess(?:ion)?_?id|connect\\.sid)=\\\\{0,8}["']?`,
    alphabet: 'parameter',
    flags: 'gi',
    mayBeHarmless: true,
  },
  {
    // --password hunter2, --token abc
    name: 'flag',
    kind: 'value',
    before: '\\s--(?:[a-z]+-)?(?:password|passwd|token|api-?key|secret-key|client-secret)[ \\t]+["\']?(?!-)',
    alphabet: 'password',
    flags: 'gi',
    mayBeHarmless: true,
  },
];

const KEY_HEADER = `(?:${LINE_END}[ \\t]*(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): [^\\r\\n\\\\]{0,200})`;

/** Private keys in PEM: the lines of the body go; the frame and its headers stay. */
const PEM = new RegExp(
  `(-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----${KEY_HEADER}{0,8})((?:${BASE64_LINE}){1,1024})`,
  'g',
);
const pem: RedactionRule = {
  name: 'pem',
  redact: (text) => text.replace(PEM, (_match, frame: string, body: string) => frame + maskLines('private-key', body)),
};

/** All rules, in the order in which they are applied. */
export const RULES: readonly RedactionRule[] = [pem, ...SHAPES.map(compile)];

const LEADING_PASSWORD = new RegExp(`^${ALPHABETS.password}+`);

/** Masks the beginning of a value that is a secret by its name, as far as a secret can reach. */
export function maskSecret(kind: string, text: string): string {
  return text.replace(LEADING_PASSWORD, (found) => placeholder(kind, found.length));
}

const WHOLLY_BASE64 = new RegExp(`^${ALPHABETS.base64}{16,}$`);

/** Masks a line that is nothing but base64 of some length; other lines stay. */
export function maskBase64Line(kind: string, line: string): string {
  const text = line.trim();
  const isEncoded = WHOLLY_BASE64.test(text) && /[a-z]/.test(text) && /[A-Z]/.test(text);
  return isEncoded ? line.replace(text, placeholder(kind, text.length)) : line;
}
