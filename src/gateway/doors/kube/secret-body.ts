// The body of a Secret for the audit log: shows which keys were written, but never their values.

import { parseAllDocuments } from 'yaml';

const HIDDEN = '[redacted]';
/** The annotation in which kubectl keeps a copy of the whole object. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** Converts an object, a merge patch or a JSON patch of a Secret to JSON without values. */
export function secretBody(body: Buffer): string {
  try {
    const documents = parseAllDocuments(body.toString('utf8')).map((document) => {
      if (document.errors.length > 0) throw new Error('not YAML');
      const content: unknown = document.toJS();
      return JSON.stringify(Array.isArray(content) ? content.map(hidePatch) : hide(content));
    });
    return documents.join('\n');
  } catch {
    return `(body of a Secret, ${body.length} bytes, in a format whose values cannot be removed)`;
  }
}

/** Hides the value of one operation of a JSON patch. */
function hidePatch(operation: unknown): unknown {
  if (typeof operation !== 'object' || operation === null) return HIDDEN;
  return 'value' in operation ? { ...operation, value: HIDDEN } : operation;
}

function hide(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hide);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key === LAST_APPLIED) return [key, HIDDEN];
      if (key !== 'data' && key !== 'stringData') return [key, hide(inner)];
      // A null deletes a key. That is worth recording and not secret.
      if (typeof inner !== 'object' || inner === null) return [key, inner === null ? null : HIDDEN];
      return [
        key,
        Object.fromEntries(Object.entries(inner).map(([name, text]) => [name, text === null ? null : HIDDEN])),
      ];
    }),
  );
}
