import { existsSync, rmSync } from 'node:fs';
import { renameDurably } from '../files/atomic.ts';
import { fileError } from '../files/errors.ts';
import { statePathOf } from './checkpoint.ts';

/** Suffix of a run's work folder beside its output. */
export const workDirectorySuffix = '.partial';

/** Suffix of a work folder that is about to be removed. */
export const retiredSuffix = '.removed';

const retiredName = (workDirectory: string): string => `${workDirectory}${retiredSuffix}`;

/**
 * The package stands: the work folder goes. Renamed first, so that a kill in between leaves no work folder that looks like an unfinished job.
 */
export function retireWork(workDirectory: string): void {
  if (existsSync(workDirectory)) renameDurably(workDirectory, retiredName(workDirectory));
  removeFinishedWork(workDirectory);
}

/**
 * A run that was killed while it removed its work folder is complete, but does not know it: it gets the folder back where its state is still there, and
 * ends once more.
 */
export function restoreRetiredWork(workDirectory: string): void {
  const retired = retiredName(workDirectory);
  if (!existsSync(retired)) return;
  if (!existsSync(workDirectory) && existsSync(statePathOf(retired))) renameDurably(retired, workDirectory);
  else removeFinishedWork(workDirectory);
}

/** Removes what is left of the work folder of a run whose package stands. */
export function removeFinishedWork(workDirectory: string): void {
  const retired = retiredName(workDirectory);
  try {
    rmSync(retired, { recursive: true, force: true });
  } catch (cause) {
    throw fileError(cause, 'remove', retired);
  }
}
