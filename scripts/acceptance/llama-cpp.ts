import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { root } from './harness.ts';
import type { LlamaAnswer, LlamaRequest } from './llama-cpp-losses.ts';

/**
 * llama.cpp by its prebuilt binding. No dependency of the project: with everything that npm would choose for Linux it takes more than a gigabyte (CUDA, Vulkan). Here
 * only the CPU's library is installed, 85 MB.
 */
const packages = ['node-llama-cpp@3.22.1', `@node-llama-cpp/${process.platform}-${process.arch}@3.22.1`];

/** Folder with node-llama-cpp; installed into `scratch` once, unless DBELL_LLAMA_CPP names one. */
export function llamaCppFolder(scratch: string): string {
  const given = process.env.DBELL_LLAMA_CPP;
  if (given !== undefined) return path.resolve(given);
  const folder = path.join(scratch, 'llama-cpp');
  if (existsSync(path.join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js'))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{"name": "llama-cpp", "private": true}\n');
  const options = ['--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund', '--save-exact'];
  execFileSync('npm', ['install', ...options, ...packages], { cwd: folder, stdio: 'ignore' });
  return folder;
}

/** Losses and token ids as llama.cpp computes them from a GGUF file. */
export async function askLlamaCpp(
  folder: string,
  scratch: string,
  request: LlamaRequest,
): Promise<LlamaAnswer> {
  const file = path.join(scratch, 'llama-request.json');
  writeFileSync(file, JSON.stringify(request));
  const script = path.join(root, 'scripts', 'acceptance', 'llama-cpp-losses.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [script, folder, file], {
    maxBuffer: 2 ** 28,
  });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as LlamaAnswer;
}
