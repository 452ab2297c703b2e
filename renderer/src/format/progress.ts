import type { JobProgress } from '../../../engine/contract/jobs.ts';
import { strings } from '../strings/index.ts';
import { count } from './numbers.ts';

/** `calibrate` → "Calibrating"; stages with a number in them, such as `prefill 128`, keep it. */
export function stageName(progress: JobProgress): string {
  const known = strings.stages[progress.stage];
  if (known) return known;
  const match = /^(.*?) (\d+)$/.exec(progress.stage);
  const base = match?.[1] ? strings.stages[match[1]] : undefined;
  return base ? `${base} ${count(Number(match?.[2]))}` : progress.stage;
}

/** "Block 3 of 8". Where everything is counted the engine's index stands behind the last one. */
export function stepText(progress: JobProgress): string {
  if (!progress.step) return '';
  const { index, count: total, unit } = progress.step;
  return strings.stepOf(unit, count(Math.min(index + 1, total)), count(total));
}
