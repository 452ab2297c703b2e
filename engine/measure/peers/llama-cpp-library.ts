import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { DBellError } from '../../contract/errors.ts';

/** As much of node-llama-cpp as is used here. */
export interface LlamaLibrary {
  getLlama(options: object): Promise<Llama>;
}
export interface Llama {
  readonly systemInfo: string;
  readonly llamaCppRelease: { repo: string; release: string };
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
export interface LlamaModel {
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}
export interface LlamaContext {
  readonly currentThreads: number;
  readonly flashAttention: boolean;
  readonly batchSize: number;
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}
export interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void>;
}

const packageName = 'node-llama-cpp';

/** Names a folder in whose node_modules node-llama-cpp is installed, where it is not beside this program. */
export const llamaCppVariable = 'DBELL_LLAMA_CPP';

/** Folder of the node-llama-cpp package: in the folder that DBELL_LLAMA_CPP names, else beside this program; null where there is none. */
export function findLlamaCpp(): string | null {
  const named = process.env[llamaCppVariable];
  if (named !== undefined && named !== '') {
    const folder = path.resolve(named, 'node_modules', packageName);
    return existsSync(path.join(folder, 'package.json')) ? folder : null;
  }
  for (const folder of createRequire(import.meta.url).resolve.paths(packageName) ?? [])
    if (existsSync(path.join(folder, packageName, 'package.json'))) return path.join(folder, packageName);
  return null;
}

/** Throws DBellError `not-found` with what to do where node-llama-cpp is not installed. */
export function requireLlamaCpp(): string {
  const folder = findLlamaCpp();
  if (folder !== null) return folder;
  throw new DBellError(
    'not-found',
    `node-llama-cpp, by which llama.cpp is measured, is not installed; npm install --no-save --ignore-scripts node-llama-cpp brings it, or ${llamaCppVariable} names a folder that has it`,
  );
}

/** Loads node-llama-cpp with the prebuilt library for the CPU; nothing is compiled or fetched. */
export async function loadLlamaCpp(threads: number): Promise<{ llama: Llama; version: string }> {
  const folder = requireLlamaCpp();
  const { version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const library = (await import(pathToFileURL(path.join(folder, 'dist', 'index.js')).href)) as LlamaLibrary;
  const llama = await library.getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: 'error',
    maxThreads: threads,
  });
  return { llama, version };
}

/** The library of CPU kernels that llama.cpp has chosen for this processor, such as `libggml-cpu-zen4.so`; null where the system does not tell. */
export function loadedCpuLibrary(): string | null {
  try {
    const found = /[^/\s]*ggml-cpu[^/\s]*$/m.exec(readFileSync('/proc/self/maps', 'utf8'));
    return found?.[0] ?? null;
  } catch {
    return null;
  }
}
