// The patterns of secrets in text: one rule per pattern, each with its replacement.
//
// A rule may miss a secret, but it must not match ordinary output, because redacted text cannot be
// recovered. Digests, UIDs, store IDs and base64 certificates are ordinary output.

/** The text that replaces a secret. It matches no rule, so that redaction is idempotent. */
export function placeholder(kind: string): string {
  return `[redacted:${kind}]`;
}

/** A pattern of secrets and its replacement. */
export interface RedactionRule {
  readonly name: string;
  readonly pattern: RegExp;
  /** Replacement in the syntax of `String.replace`, or a function of the match. */
  readonly replace: (match: string, ...groups: string[]) => string;
}

const whole =
  (kind: string): RedactionRule['replace'] =>
  () =>
    placeholder(kind);

/** Values that are not secrets: empty values, flags, references, paths, our own placeholder. */
const HARMLESS =
  /^(?:|true|false|null|nil|none|undefined|yes|no|required|missing|invalid|expired|unset|\*+|[x.]{3,}|-|\||>|[|>][-+]|\[redacted:.*|[$<{%/~].*|\[\]|\{\})$/i;

function value(kind: string, text: string): string {
  return HARMLESS.test(text) ? text : placeholder(kind);
}

/** Endings of names whose value is a secret: DB_PASSWORD, clientSecret, aws_secret_access_key. */
const SECRET_NAME =
  '(?:passwd|password|passphrase|pwd|client[_-]?secret|secret[_-]?key|secret[_-]?access[_-]?key|private[_-]?key|api[_-]?key|apikey|access[_-]?token|refresh[_-]?token|auth[_-]?token|id[_-]?token|identitytoken|session[_-]?token|account[_-]?key|token|secret)';

const secretName = new RegExp(`^[\\w.-]*${SECRET_NAME}$`, 'i');

/**
 * Whether a key of an object holds a secret. The key `secret` does not: it usually names an object.
 */
export function isSecretName(key: string): boolean {
  return secretName.test(key) && !/^secret$/i.test(key);
}

const headers = '(?:proxy-)?authorization|x-api-key|x-auth-token|x-vault-token|set-cookie|cookie';

export const RULES: readonly RedactionRule[] = [
  {
    name: 'pem',
    pattern:
      /-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)[\s\S]){0,65536}(?:-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----)?/g,
    replace: whole('private-key'),
  },
  {
    // The same in base64: "-----BEGIN PRIVATE" or "-----BEGIN RSA PRI…", also EC, OPENSSH and
    // ENCRYPTED.
    name: 'pem-base64',
    pattern:
      /LS0tLS1CRUdJTiB(?:QUklWQVRF|SU0EgUFJJVkFUR|FQyBQUklWQVRF|PUEVOU1NIIFBSSVZBVE|FTkNSWVBURUQgUFJJVkFUR)[A-Za-z0-9+/=]*/g,
    replace: whole('private-key'),
  },
  { name: 'anthropic-key', pattern: /(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9_-]{16,}/g, replace: whole('api-key') },
  {
    name: 'sk-key',
    pattern:
      /(?<![A-Za-z0-9_-])sk-(?:proj-|svcacct-|or-v1-)?(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{32,}/g,
    replace: whole('api-key'),
  },
  {
    name: 'jwt',
    pattern: /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?/g,
    replace: whole('jwt'),
  },
  { name: 'docker-config', pattern: /eyJhdXRocyI6[A-Za-z0-9+/=]+/g, replace: whole('docker-auth') },
  {
    name: 'docker-auth',
    pattern: /("auth\\{0,8}"\s*:\s*\\{0,8}")([A-Za-z0-9+/]{8,}={0,2})(?=\\{0,8}")/g,
    replace: (_match, before = '') => `${before}${placeholder('docker-auth')}`,
  },
  {
    name: 'aws-key-id',
    pattern: /(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])/g,
    replace: whole('cloud-key'),
  },
  {
    name: 'google-api-key',
    pattern: /(?<![A-Za-z0-9_-])AIza[0-9A-Za-z_-]{35}(?![A-Za-z0-9_-])/g,
    replace: whole('cloud-key'),
  },
  { name: 'google-oauth', pattern: /(?<![A-Za-z0-9_-])ya29\.[0-9A-Za-z_-]{20,}/g, replace: whole('cloud-key') },
  {
    name: 'azure-account-key',
    pattern: /(AccountKey=|SharedAccessKey=|[?&]sig=)([A-Za-z0-9+/%]{20,}={0,2})/g,
    replace: (_match, before = '') => `${before}${placeholder('cloud-key')}`,
  },
  {
    name: 'vendor-token',
    pattern:
      /(?<![A-Za-z0-9_-])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|npm_[A-Za-z0-9]{36}|dckr_pat_[A-Za-z0-9_-]{20,}|dop_v1_[a-f0-9]{64}|hvs\.[A-Za-z0-9_-]{20,}|[rs]k_live_[A-Za-z0-9]{20,})/g,
    replace: whole('token'),
  },
  {
    name: 'header',
    pattern: new RegExp(
      `(?<![\\w-])((?:${headers})\\\\{0,8}["']?\\s*[:=]\\s*\\\\{0,8}["']?)((?:(?:bearer|basic|negotiate|digest|token)\\s+)?)([^\\s"'\\\\][^"'\\r\\n\\\\]*)`,
      'gi',
    ),
    replace: (_match, before = '', scheme = '', secret = '') => `${before}${scheme}${value('header', secret)}`,
  },
  {
    name: 'bearer',
    pattern: /\b(bearer\s+)(?=[A-Za-z0-9._~+/=-]*[0-9])([A-Za-z0-9._~+/=-]{16,})/gi,
    replace: (_match, before = '') => `${before}${placeholder('bearer')}`,
  },
  {
    name: 'url-password',
    pattern: /(:\/\/[^\s:/@"']{0,128}:)([^\s/@"'[\]]{1,256})(?=@)/gi,
    replace: (_match, before = '', secret = '') => `${before}${value('password', secret)}`,
  },
  {
    name: 'curl-user',
    pattern: /(\scurl\s(?:[^\n|;&]{0,200}?\s)?(?:-u|--user)[\s=]*["']?[^\s:"']{1,128}:)([^\s"']{1,256})/g,
    replace: (_match, before = '', secret = '') => `${before}${value('password', secret)}`,
  },
  {
    // An environment variable of a pod whose name says that its value is a secret.
    name: 'env-json',
    pattern: new RegExp(
      `(\\\\{0,8}"name\\\\{0,8}"\\s*:\\s*\\\\{0,8}"[\\w.-]*${SECRET_NAME}\\\\{0,8}"\\s*,\\s*\\\\{0,8}"value\\\\{0,8}"\\s*:\\s*\\\\{0,8}")((?:[^"\\\\]|\\\\(?!"))*)`,
      'gi',
    ),
    replace: (_match, before = '', secret = '') => `${before}${value('value', secret)}`,
  },
  {
    name: 'env-yaml',
    pattern: new RegExp(
      `(^[ \\t]*(?:- )?name:[ \\t]*["']?[\\w.-]*${SECRET_NAME}["']?[ \\t]*\\r?\\n[ \\t]*value:[ \\t]*)(\\S[^\\r\\n]*)`,
      'gim',
    ),
    replace: (_match, before = '', secret = '') => `${before}${value('value', secret)}`,
  },
  {
    // "password": "…", also in a string that is itself JSON (\"password\": \"…\"). The key
    // "secret" names an object.
    name: 'json-pair',
    pattern: new RegExp(
      `(\\\\{0,8}"[\\w.-]*(?:(?<!")secret|(?!secret\\\\{0,8}")${SECRET_NAME})\\\\{0,8}"\\s*:\\s*(\\\\{0,8})")((?:[^"\\\\\\r\\n]|\\\\(?!\\\\{0,8}"))*)(?=\\2")`,
      'gi',
    ),
    replace: (_match, before = '', _escape = '', secret = '') => `${before}${value('value', secret)}`,
  },
  {
    // password: … at the start of a line in YAML or a properties file.
    name: 'yaml-pair',
    pattern: new RegExp(
      `(^[ \\t]*(?:- )?["']?[\\w.-]*(?:\\wsecret|(?!secret["']?:)${SECRET_NAME})["']?:[ \\t]+)(["']?)([^\\s"'][^\\r\\n"']*)`,
      'gim',
    ),
    replace: (_match, before = '', quote = '', secret = '') =>
      /\s/.test(secret.trim()) && quote === '' && /(?:token|secret)["']?:[ \t]+$/i.test(before)
        ? `${before}${quote}${secret}`
        : `${before}${quote}${value('value', secret.trim())}`,
  },
  {
    name: 'password-colon',
    pattern: /(\b(?:password|passwd|passphrase)\s{0,2}:\s{1,2})(["']?)([^\s"',;]{3,256})/gi,
    replace: (_match, before = '', quote = '', secret = '') => `${before}${quote}${value('password', secret)}`,
  },
  {
    // password=…, --token=…, DB_PASSWORD='…'. In a query string, the value ends at &.
    name: 'equals-pair',
    pattern: new RegExp(`(${SECRET_NAME}=)(\\\\{0,8}["']?)([^\\s"'&;,)\\]}\\\\]+)`, 'gi'),
    replace: (_match, before = '', quote = '', secret = '') => `${before}${quote}${value('value', secret)}`,
  },
  {
    // --password hunter2, --token abc
    name: 'flag',
    pattern:
      /(\s--(?:[a-z]+-)?(?:password|passwd|token|api-?key|secret-key|client-secret)\s+)(["']?)([^\s"'-][^\s"']*)/gi,
    replace: (_match, before = '', quote = '', secret = '') => `${before}${quote}${value('value', secret)}`,
  },
];
