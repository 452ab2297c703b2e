import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The C++ addon. It owns threads, mapped files and the packed runtime; JavaScript gets opaque handles. Typed views of its parts stand in
 * numerics.ts (quantization) and runtime.ts (packed execution) beside this file.
 */
export interface NativeThreads {
  /** Threads of every native parallel loop, the caller included; 0 = all cores. */
  setThreadCount(threads: number): void;
  threadCount(): number;
}

const here = path.dirname(fileURLToPath(import.meta.url));
const addonPath =
  process.env.DBELL_NATIVE_ADDON ?? path.resolve(here, '..', '..', 'build', 'native', 'dbell_native.node');

/** The addon's exports, untyped; use the typed accessors. */
export function loadAddon(): unknown {
  try {
    return createRequire(import.meta.url)(addonPath);
  } catch (cause) {
    throw new Error(
      `The native part could not be loaded from ${addonPath}; build it with: npm run build:native`,
      { cause },
    );
  }
}

export const threads = loadAddon() as NativeThreads;
