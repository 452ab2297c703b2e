import { randomBytes } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { bytesSchema, countSchema, identifierSchema, timeSchema } from '../contract/common.ts';
import { describeIssues } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import { type QuantizeInput, quantizeInputSchema } from '../contract/quantization.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { fileError, systemErrorCode } from '../files/errors.ts';

/**
 * `run.json` in a run's work folder: which run of the history it is and everything needed to take it up again. It is written before any work, so that
 * a run killed at any moment is resumed as the same run; it goes with the work folder.
 */
const runFileSchema = z.strictObject({
  version: z.literal(1),
  runId: identifierSchema,
  createdAt: timeSchema,
  input: quantizeInputSchema,
  /** Work processes that have begun to work on it. */
  attempts: countSchema,
  /** Highest peak of the attempts that could still write it down. */
  peakRssBytes: bytesSchema,
});
export type RunFile = z.infer<typeof runFileSchema>;

/** Suffix of a work folder beside its output. */
export const partialSuffix = '.partial';

export function workFolderOf(out: string): string {
  return `${out}${partialSuffix}`;
}

/** OUT, whether OUT or OUT.partial was given. */
export function outputOf(outOrPartial: string): string {
  const absolute = path.resolve(outOrPartial);
  return absolute.endsWith(partialSuffix) ? absolute.slice(0, -partialSuffix.length) : absolute;
}

export const runFileName = 'run.json';

function runFilePath(workFolder: string): string {
  return path.join(workFolder, runFileName);
}

/** Null where there is none. Throws DBellError `invalid-checkpoint` for one that cannot be understood. */
export function readRunFile(workFolder: string): RunFile | null {
  const file = runFilePath(workFolder);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    // A name beyond what the file system takes is refused where outputs are checked, in its own words.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(systemErrorCode(cause) ?? '')) return null;
    throw fileError(cause, 'read', file);
  }
  const damaged = (reason: string) =>
    new DBellError(
      'invalid-checkpoint',
      `${file}: ${reason}; the run cannot be resumed; delete ${workFolder} and start again`,
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw damaged('not valid JSON');
  }
  const result = runFileSchema.safeParse(parsed);
  if (!result.success) throw damaged(describeIssues(result.error));
  return result.data;
}

/**
 * Writes the first run.json of an existing work folder. Of two processes that try at once one wins; both get the winner's.
 */
export function createRunFile(workFolder: string, run: RunFile): RunFile {
  const file = runFilePath(workFolder);
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(temporary, serialize(run), { flush: true });
    try {
      // A link, unlike a rename, fails where the name exists.
      linkSync(temporary, file);
    } catch (cause) {
      if (systemErrorCode(cause) === 'EEXIST') return readRunFile(workFolder) ?? run;
      // A file system without links (exFAT) does without the race's protection.
      updateRunFile(workFolder, run);
    }
    return run;
  } catch (cause) {
    throw fileError(cause, 'write', file);
  } finally {
    rmSync(temporary, { force: true });
  }
}

export function updateRunFile(workFolder: string, run: RunFile): void {
  writeFileAtomically(runFilePath(workFolder), serialize(run));
}

function serialize(run: RunFile): string {
  return `${JSON.stringify(run, null, 2)}\n`;
}

/** Settings in which two requests for the same output differ, threads and follow-ups left out: they change no byte of the package. */
export function differingSettings(a: QuantizeInput, b: QuantizeInput): string[] {
  const keys = [
    'model',
    'recipe',
    'set',
    'activationBits',
    'embeddingBits',
    'calibration',
    'windows',
    'context',
    'seed',
    'floatDevice',
  ] as const;
  return keys.filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
}
