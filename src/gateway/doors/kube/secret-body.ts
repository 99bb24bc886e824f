// The body of a Secret for the record: which keys were written, never their values, whatever form the write takes.

const HIDDEN = '[redacted]';
/** kubectl keeps a copy of the whole object in here. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** An object, a merge patch or a JSON patch of a Secret, as JSON without values. */
export function secretBody(content: unknown): string {
  return JSON.stringify(Array.isArray(content) ? content.map(hidePatch) : hide(content));
}

/** One operation of a JSON patch: its path says what it does. */
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
      // A null takes a key away, which is worth knowing and no secret.
      if (typeof inner !== 'object' || inner === null) return [key, inner === null ? null : HIDDEN];
      return [
        key,
        Object.fromEntries(Object.entries(inner).map(([name, text]) => [name, text === null ? null : HIDDEN])),
      ];
    }),
  );
}
