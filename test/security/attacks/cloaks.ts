// Attacks on the record by text: a marker of a secret, so that redaction takes the rest of the
// command, or characters that act on the terminal of whoever reads the log.

/** Redaction as it was until it took only what a secret can consist of. */
export function oldRedaction(text: string): string {
  const headers = '(?:proxy-)?authorization|x-api-key|x-auth-token|x-vault-token|set-cookie|cookie';
  const header = new RegExp(
    `(?<![\\w-])((?:${headers})\\\\{0,8}["']?\\s*[:=]\\s*\\\\{0,8}["']?)((?:(?:bearer|basic|negotiate|digest|token)\\s+)?)([^\\s"'\\\\][^"'\\r\\n\\\\]*)`,
    'gi',
  );
  const pem =
    /-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)[\s\S]){0,65536}(?:-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----)?/g;
  return text.replace(pem, '[redacted:private-key]').replace(header, '$1$2[redacted:header]');
}

const markers = [
  'cookie=1',
  ': set-cookie: a',
  ': authorization: x',
  ': Proxy-Authorization: Basic YTpi',
  'x_api_key=1; : x-api-key: k',
  ': X-Vault-Token=t',
  ': -----BEGIN PRIVATE KEY-----',
  ': -----BEGIN RSA PRIVATE KEY-----',
  ': -----BEGIN OPENSSH PRIVATE KEY-----',
  'password=p',
  ': token: t',
  ': AccountKey=AAAAAAAAAAAAAAAAAAAAAAAA',
  ': \'"auth":"YWJjZGVmZ2g="\'',
  ": 'kind: Secret\ndata:\n  a: b\n'",
  ': https://user:word@host/',
] as const;
const separators = ['; ', ' && ', '\n', ' | '] as const;

/** A command behind a marker; `echo implant-N` must be on record. */
export const cloaks = markers.flatMap((marker, index) =>
  // All separators with the two markers that once took most, one with each of the others.
  separators
    .filter((_, at) => index === 0 || index === 6 || at === index % separators.length)
    .map((separator) => ({
      name: `${JSON.stringify(marker)} and ${JSON.stringify(separator)} before a command`,
      command: (id: string) => `${marker}${separator}echo implant-${id}`,
      implant: (id: string) => `echo implant-${id}`,
    })),
);

const ESCAPES = {
  'clear the screen': '\u001b[2J',
  'move the cursor up and overwrite': '\u001b[3A\rOK',
  'write the clipboard (OSC 52)': '\u001b]52;c;YQ==\u0007',
  'set the title (OSC 0)': '\u001b]0;owned\u0007',
  'a link to elsewhere (OSC 8)': '\u001b]8;;https://example.test\u001b\\here\u001b]8;;\u001b\\',
  'report as if typed (DECRQSS)': '\u001bP$q"p\u001b\\',
  'C1 control sequence': '\u009b2J',
  'text that runs backwards (bidi)': '\u202egnorw si siht\u202c',
  'a carriage return over the line': 'harm\rless',
  'backspaces over the line': 'harm\b\b\b\bless',
} as const;

/** Printed by a command, and in the command itself. */
export const escapes = Object.entries(ESCAPES).map(([name, text]) => ({
  name,
  text,
  command: `printf '%s' '${Buffer.from(text).toString('base64')}' | base64 -d; : '${text}'`,
}));
