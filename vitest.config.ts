/**
 * How the tests run. Many start the built binary, so `npm test` builds first; `npx vitest run test/...` is
 * enough while what is built has not changed.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    disableConsoleIntercept: true,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Most tests wait for processes and disks; with one worker less than processors they would wait alone.
    maxWorkers: 2,
    // .ci/run derives its closing line from the file.
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'dist/test-results.json' }]] : ['default'],
  },
});
