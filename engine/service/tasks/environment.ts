import { createRequire } from 'node:module';
import type { TaskFunction } from './control.ts';

/** Loads the native parts and says what they are. A part that cannot be loaded is a finding here, not a failure. */
export const environmentTask: TaskFunction<'environment'> = async () => {
  const require = createRequire(import.meta.url);
  try {
    const { threads } = await import('../../native/index.ts');
    const onnxruntime: { version: string } = require('onnxruntime-node/package.json');
    return { threads: threads.threadCount(), onnxruntime: onnxruntime.version, problem: null };
  } catch (error) {
    return {
      threads: null,
      onnxruntime: null,
      problem: error instanceof Error ? error.message : String(error),
    };
  }
};
