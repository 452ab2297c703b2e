import path from 'node:path';
import { defineConfig } from 'vitest/config';

/** What these measure is time; a test beside them would be measured along. They come last, one by one. */
const timed = [
  'tests/end-to-end/live.test.ts',
  'tests/end-to-end/many-runs.test.ts',
  'tests/end-to-end/page.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['tests/build-page.ts'],
    // onnxruntime and the addon block the thread they run on, so each file gets a process of its own.
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Processes that tests start are ready sooner, as those of a command are (engine/service/compile-cache.js).
    env: { NODE_COMPILE_CACHE: path.join(import.meta.dirname, 'build', 'compile-cache') },
    projects: [
      {
        extends: true,
        test: {
          name: 'tests',
          include: ['tests/**/*.test.ts'],
          exclude: timed,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'timed', include: timed, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
