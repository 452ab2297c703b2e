// Plain JavaScript that any Node understands, as dbell.js. Imported for its effect, before anything that is written in TypeScript.
import module from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * Node removes the types from each source file and compiles it at every start, which is most of the time of a short command. What it makes of them is kept
 * below build/, by this process and those that it starts, and made anew where a file has changed. Where that folder cannot be written, or NODE_COMPILE_CACHE or
 * NODE_DISABLE_COMPILE_CACHE say otherwise, nothing else differs.
 */
const folder = fileURLToPath(new URL('../../build/compile-cache', import.meta.url));

if (!process.env.NODE_COMPILE_CACHE && !process.env.NODE_DISABLE_COMPILE_CACHE) {
  const { status } = module.enableCompileCache?.(folder) ?? {};
  if (status === module.constants?.compileCacheStatus.ENABLED) process.env.NODE_COMPILE_CACHE = folder;
}
