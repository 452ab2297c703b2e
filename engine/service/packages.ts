import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import type { KnownPackage } from '../contract/packages.ts';
import { isFolderLocked } from '../files/folder-lock.ts';
import type { History } from '../history/history.ts';
import { serviceLimits } from './limits.ts';
import { outputOf, partialSuffix, readRunFile, runFileName, workFolderOf } from './run-file.ts';
import { isPackage } from './tasks/package-detection.ts';

/** What is known of a package before it is opened. */
export type PackageCandidate = Pick<KnownPackage, 'path' | 'createdAt' | 'runId'>;

/** Packages that the history knows and those in the folder for packages, each once, newest first; they are there, but were not opened. */
export function findPackages(packagesFolder: string, history: History | null): PackageCandidate[] {
  const found = new Map<string, PackageCandidate>();
  for (const { path: folder, runId, createdAt } of history?.packages(serviceLimits.listedPackages) ?? []) {
    if (!found.has(folder) && existsSync(folder)) found.set(folder, { path: folder, runId, createdAt });
  }
  for (const folder of foldersIn(packagesFolder)) {
    if (!found.has(folder) && !folder.endsWith(partialSuffix) && isPackage(folder)) {
      found.set(folder, {
        path: folder,
        runId: null,
        createdAt: modifiedAt(path.join(folder, 'config.json')),
      });
    }
  }
  return [...found.values()]
    .sort((a, b) => ((a.createdAt ?? '') < (b.createdAt ?? '') ? 1 : -1))
    .slice(0, serviceLimits.listedPackages);
}

/** Quantizations that can be taken up: outputs of the history's runs that did not end well, and work folders in the folder for packages. Not those that a process works on, such as a command's. */
export function findUnfinished(packagesFolder: string, history: History | null) {
  const outputs = new Set<string>();
  for (const output of history?.unfinishedOutputs(serviceLimits.listedPackages) ?? []) outputs.add(output);
  for (const folder of foldersIn(packagesFolder)) {
    if (folder.endsWith(partialSuffix)) outputs.add(outputOf(folder));
  }
  return [...outputs]
    .flatMap((output) => {
      const workFolder = workFolderOf(output);
      const run = isFolderLocked(workFolder) ? null : readUnfinished(workFolder);
      return run === null ? [] : [{ path: output, ...run }];
    })
    .sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1));
}

function readUnfinished(workFolder: string) {
  try {
    const file = path.join(workFolder, runFileName);
    if (statSync(file).size > serviceLimits.runFileBytes) return null;
    const run = readRunFile(workFolder);
    if (run === null) return null;
    const { runId, createdAt, input } = run;
    return {
      runId,
      createdAt,
      model: input.model,
      recipe: input.recipe,
      updatedAt: modifiedAt(workFolder) ?? createdAt,
    };
  } catch {
    // Gone, or no run of ours: `resume` on it says what is wrong.
    return null;
  }
}

/** `packagesFolder/MODEL-RECIPE`, or the first of `-2`, `-3` … that neither a package nor unfinished work has, nor a job is to write (`taken`). */
export function suggestOutput(
  packagesFolder: string,
  model: string,
  recipe: string,
  taken: ReadonlySet<string> = new Set(),
): string {
  const modelName = path.basename(path.resolve(model)).replace(/\.gguf$/i, '');
  const name = `${modelName}-${recipe}`.replace(/[^\p{L}\p{N}._+-]+/gu, '-').slice(0, 200);
  for (let number = 1; ; number++) {
    const output = path.join(packagesFolder, number === 1 ? name : `${name}-${number}`);
    if (!taken.has(output) && !existsSync(output) && !existsSync(workFolderOf(output))) return output;
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => path.join(folder, entry.name));
  } catch {
    return [];
  }
}

function modifiedAt(entry: string): string | null {
  return statSync(entry, { throwIfNoEntry: false })?.mtime.toISOString() ?? null;
}
