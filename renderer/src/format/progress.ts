import type { Job, JobProgress, JobTask } from '../../../engine/contract/jobs.ts';
import { strings } from '../strings/index.ts';
import { count, remaining, timeSpan, unknownFigure } from './numbers.ts';

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

/** "verify, judge quality and benchmark"; empty where there are none. */
export function taskNames(tasks: readonly JobTask[]): string {
  const names = tasks.map((task) => strings.tasks[task].toLowerCase());
  return strings.listed(names);
}

/** How long the task under way will take, as well as that is known. */
export function timeLeft({ remainingMs, remainingRangeMs }: JobProgress): string {
  if (remainingRangeMs) return timeSpan(remainingRangeMs);
  return remainingMs === null ? unknownFigure : remaining(remainingMs);
}

/** What comes after the task under way, which is the first one before there is any progress. */
export function tasksAfter(job: Pick<Job, 'tasks'>, progress: Pick<JobProgress, 'task'> | null): JobTask[] {
  const at = progress === null ? 0 : job.tasks.indexOf(progress.task);
  return at < 0 ? [] : job.tasks.slice(at + 1);
}
