/** The long run of the explorer (`npm run test:crash`): minutes, where the ordinary tests take seconds. */
import { defineConfig } from 'vitest/config';

const HOUR_MS = 60 * 60 * 1000;

export default defineConfig({
  test: {
    include: ['test/crash/**/*.long.ts'],
    disableConsoleIntercept: true,
    testTimeout: HOUR_MS,
    // Two files of about the same cost, one a processor.
    maxWorkers: 2,
  },
});
