// PromQL that finds an alert again: as long as it returns something, the alert is pending or firing.

/** What a prometheus check takes, less room for the rest of the query. */
const MAX_QUERY = 4000;

/**
 * `ALERTS` with the alert's own labels. Labels that the series does not carry do not count against it, for Prometheus
 * adds its external labels only on the way to Alertmanager; a query that demanded them would find nothing, ever, and the
 * check would hold for nothing. What would make the query too long is left out: it then finds more, not less.
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

/** For RE2, which Prometheus anchors at both ends. */
function escapeRegex(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** A string of PromQL, which follows Go. */
function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`;
}
