// Commands of a test: one that always runs, so that every write is explained.

import type { GatewayContext } from '../../src/gateway/doors/door.ts';

export const alwaysRunning: GatewayContext['commands'] & { unexplained(): Promise<undefined> } = {
  explain: async () => ({ commandSeq: 1 }),
  ended: async () => {},
  latest: async () => undefined,
  whenOver: () => () => {},
  unexplained: async () => undefined,
};
