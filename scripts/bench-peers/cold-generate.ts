import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { SyntheticModel } from '../../engine/contract/measurement.ts';
import { median } from '../../engine/measure/statistics.ts';
import { writeSyntheticPackage } from '../../engine/package/synthetic/synthetic-package.ts';
import { findShape } from '../../engine/service/tasks/prepare-benchmark.ts';
import { runDbell } from '../acceptance/command.ts';

const coldStarts = 5;

/**
 * Milliseconds of a whole `dbell generate` of one token, from starting the command to its end, the median of some; the files are in the page cache. Null where it
 * fails. The package is written below `scratch` where it is not there yet.
 */
export async function coldGenerateMs(
  { shape, levels, tables }: SyntheticModel,
  threads: number,
  environment: NodeJS.ProcessEnv,
  { scratch, home }: { scratch: string; home: string },
): Promise<number | null> {
  const folder = path.join(scratch, 'cold', `${shape}-${levels}-${tables}`);
  if (!existsSync(folder)) await writeSyntheticPackage(folder, findShape(shape), { levels, tables });
  const durations: number[] = [];
  // The first one reads the files and is not counted.
  for (let start = 0; start <= coldStarts; start++) {
    const startedAt = performance.now();
    const { code } = await runDbell(
      ['generate', folder, '--prompt', 'Hello', '--tokens', '1', '--threads', String(threads)],
      { home, env: environment },
    );
    if (code !== 0) return null;
    if (start > 0) durations.push(performance.now() - startedAt);
  }
  return median(durations);
}

export function removeColdPackages(scratch: string): void {
  rmSync(path.join(scratch, 'cold'), { recursive: true, force: true });
}
