import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { z } from 'zod';

const manifestSchema = z.object({ version: z.string() });

function versionOf(manifestPath: string): string {
  return manifestSchema.parse(JSON.parse(readFileSync(manifestPath, 'utf8'))).version;
}

/**
 * What computes, as far as it may decide a package's bytes: versions of this program and of onnxruntime, and the machine's architecture. Threads and the
 * addon's instruction set are not part of it: its results are the same bytes with each.
 */
export function engineIdentity(): string {
  const own = versionOf(path.resolve(import.meta.dirname, '..', '..', 'package.json'));
  const runtimeEntry = createRequire(import.meta.url).resolve('onnxruntime-node');
  let folder = path.dirname(runtimeEntry);
  while (path.basename(folder) !== 'onnxruntime-node' && path.dirname(folder) !== folder)
    folder = path.dirname(folder);
  const runtime = versionOf(path.join(folder, 'package.json'));
  return `dbell-studio ${own}, onnxruntime ${runtime}, ${process.arch}`;
}
