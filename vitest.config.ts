// Three test projects: unit beside the code, api against a real kube-apiserver, e2e on kind.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts', 'hack/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'api',
          include: ['test/api/**/*.test.ts', 'test/fault/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts', 'test/security/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
