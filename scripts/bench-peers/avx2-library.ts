import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findLlamaCpp } from '../../engine/measure/peers/llama-cpp-library.ts';

/** A copy of node-llama-cpp whose only libraries for this processor are those without AVX-512 and VNNI, since llama.cpp takes the best that it finds. */
export function llamaCppWithAvx2(scratch: string): string | null {
  const library = findLlamaCpp();
  if (library === null) return null;
  const target = path.join(scratch, 'llama-cpp-avx2');
  const modules = path.join(target, 'node_modules');
  if (!existsSync(path.join(modules, 'complete'))) {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    cpSync(path.dirname(library), modules, { recursive: true, verbatimSymlinks: true });
    for (const file of readdirSync(modules, { recursive: true, encoding: 'utf8' }))
      if (
        /(^|[/\\])(lib)?ggml-cpu-/.test(file) &&
        !/ggml-cpu-(haswell|sandybridge|ivybridge|sse42|x64)\b/.test(file)
      )
        rmSync(path.join(modules, file));
    writeFileSync(path.join(modules, 'complete'), '');
  }
  return target;
}
