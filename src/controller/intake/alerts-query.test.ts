import { describe, expect, it } from 'vitest';
import { alertsQuery } from './alerts-query.ts';

describe('the query for an alert', () => {
  it('requires the name, and accepts a series that lacks a label', () => {
    expect(alertsQuery({ alertname: 'Down', pod: 'a-0' })).toBe('ALERTS{alertname="Down",pod=~"(a-0)?"}');
  });

  it('matches values literally', () => {
    expect(alertsQuery({ alertname: 'a"\\\n', path: 'C:\\x.*(y)' })).toBe(
      String.raw`ALERTS{alertname="a\"\\\n",path=~"(C:\\\\x\\.\\*\\(y\\))?"}`,
    );
  });

  it('leaves out labels that would make it too long for a check', () => {
    const labels = { alertname: 'X', long: 'y'.repeat(4096), short: 'z' };
    expect(alertsQuery(labels)).toBe('ALERTS{alertname="X",short=~"(z)?"}');
  });
});
