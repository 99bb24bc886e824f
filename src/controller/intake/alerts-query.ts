// Builds the PromQL that finds an alert: while it returns a series, the alert is pending or firing.

/** The longest query of a check, less some room for the rest of this one. In characters. */
const MAX_QUERY = 4000;

/**
 * `ALERTS` with the labels of the alert. Each matcher also accepts series without the label,
 * because Prometheus adds its external labels only to what it sends to Alertmanager. A query that
 * required them would never find the alert, and the check would always hold. Labels that would
 * make the query too long are left out, so that it finds more series, not fewer.
 */
export function alertsQuery(labels: Readonly<Record<string, string>> & { readonly alertname: string }): string {
  const { alertname, ...others } = labels;
  const matchers = [`alertname=${quote(alertname)}`];
  let length = matchers[0]?.length ?? 0;
  for (const [name, value] of Object.entries(others)) {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name === 'alertstate' || name === '__name__') continue;
    const matcher = `${name}=~${quote(`(${escapeRegex(value)})?`)}`;
    if (length + matcher.length > MAX_QUERY) continue;
    matchers.push(matcher);
    length += matcher.length + 1;
  }
  return `ALERTS{${matchers.join(',')}}`;
}

/** Escapes text for RE2, which Prometheus anchors at both ends. */
function escapeRegex(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** A PromQL string, which follows the rules of Go. */
function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`;
}
