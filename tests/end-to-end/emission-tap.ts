import { subscribe } from 'node:diagnostics_channel';
import { openSync, writeSync } from 'node:fs';

/**
 * Loaded into every process of a studio (`--import`): writes down what a work process emits, and when. The file is named by DBELL_TEST_EMISSIONS.
 */
const file = process.env.DBELL_TEST_EMISSIONS;
if (file !== undefined) {
  let descriptor: number | null = null;
  subscribe('dbell:progress', (progress) => {
    descriptor ??= openSync(file, 'a');
    writeSync(descriptor, `${JSON.stringify({ at: Date.now(), progress })}\n`);
  });
}
