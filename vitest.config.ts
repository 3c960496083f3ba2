import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    // Forks: the native add-on and the embedded PostgreSQL want a process of their own.
    pool: 'forks',
    poolOptions: { forks: { minForks: 1, maxForks: 2 } },
    // They share that one server, and each empties it (test/shared-server.ts).
    fileParallelism: process.env['ELANUS_TEST_SERVER'] === undefined,
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // A bound against hanging, not a measure: machines are shared.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
