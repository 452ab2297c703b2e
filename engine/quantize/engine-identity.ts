import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { z } from 'zod';
import type { FloatDevice } from '../contract/common.ts';

const manifestSchema = z.object({ version: z.string() });

function versionOf(manifestPath: string): string {
  return manifestSchema.parse(JSON.parse(readFileSync(manifestPath, 'utf8'))).version;
}

/**
 * What computes, as far as it may decide a package's bytes: versions of this program and of onnxruntime, the machine's architecture, and onnxruntime's provider where that is not the CPU's. Threads and the
 * addon's instruction set are not part of it: its results are the same bytes with each.
 */
export function engineIdentity(device: FloatDevice): string {
  const own = versionOf(path.resolve(import.meta.dirname, '..', '..', 'package.json'));
  const runtimeEntry = createRequire(import.meta.url).resolve('onnxruntime-node');
  let folder = path.dirname(runtimeEntry);
  while (path.basename(folder) !== 'onnxruntime-node' && path.dirname(folder) !== folder)
    folder = path.dirname(folder);
  const runtime = versionOf(path.join(folder, 'package.json'));
  const parts = [`dbell-studio ${own}`, `onnxruntime ${runtime}`, process.arch];
  return [...parts, ...(device === 'cpu' ? [] : [device])].join(', ');
}
