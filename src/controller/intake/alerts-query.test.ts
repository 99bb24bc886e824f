import { describe, expect, it } from 'vitest';
import { alertsQuery } from './alerts-query.ts';

describe('the query for an alert', () => {
  it('demands the name, and of labels only that they are the same where they are there', () => {
    expect(alertsQuery({ alertname: 'Down', pod: 'a-0' })).toBe('ALERTS{alertname="Down",pod=~"(a-0)?"}');
  });

  it('takes values literally, whatever they look like', () => {
    expect(alertsQuery({ alertname: 'a"\\\n', path: 'C:\\x.*(y)' })).toBe(
      String.raw`ALERTS{alertname="a\"\\\n",path=~"(C:\\\\x\\.\\*\\(y\\))?"}`,
    );
  });

  it('is never longer than a check takes, and finds more then, not less', () => {
    const labels = { alertname: 'X', long: 'y'.repeat(4096), short: 'z' };
    expect(alertsQuery(labels)).toBe('ALERTS{alertname="X",short=~"(z)?"}');
  });
});
