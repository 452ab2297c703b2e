import type { TaskFunction } from './control.ts';
import { describePackage } from './package-result.ts';

export const describePackageTask: TaskFunction<'describePackage'> = async (input) => ({
  ...(await describePackage(input.package)),
  sourceBytes: null,
  peakRssBytes: null,
  durationMs: null,
  // It was taken up at least this once.
  resumedTimes: 1,
  warnings: [],
});
