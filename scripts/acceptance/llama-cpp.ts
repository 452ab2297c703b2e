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

const withBlas = {
  package: 'llama-cpp-python==0.3.36',
  options: '-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS -DLLAVA_BUILD=OFF',
};

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
export function askLlamaCpp(folder: string, scratch: string, request: LlamaRequest): Promise<LlamaAnswer> {
  return ask<LlamaAnswer>(process.execPath, 'llama-cpp-losses.ts', [folder], scratch, request);
}

/**
 * The Python of an environment with llama.cpp built with its BLAS backend, which multiplies packed weights by activations in float32; installed into `scratch` once.
 * Needs Python with venv, a C++ compiler, CMake and OpenBLAS with its headers (Debian: python3-venv, libopenblas-dev).
 */
export async function pythonWithLlamaCpp(scratch: string): Promise<string> {
  const environment = path.join(scratch, 'llama-cpp-blas');
  const python = path.join(environment, 'bin', 'python');
  const isBuilt = path.join(environment, 'built');
  if (existsSync(isBuilt)) return python;
  const run = promisify(execFile);
  await run('python3', ['-m', 'venv', environment]);
  // From its source, and not what pip keeps of an earlier build: what is ready-made has no BLAS.
  const fromSource = ['--no-cache-dir', '--no-binary', 'llama-cpp-python'];
  await run(python, ['-m', 'pip', 'install', ...fromSource, withBlas.package], {
    env: { ...process.env, CMAKE_ARGS: withBlas.options },
    maxBuffer: 2 ** 28,
  });
  writeFileSync(isBuilt, '');
  return python;
}

/** Losses as llama.cpp computes them from a GGUF file where nothing rounds the activations. */
export function askLlamaCppInFloat(
  python: string,
  scratch: string,
  request: LlamaRequest,
): Promise<Pick<LlamaAnswer, 'losses'>> {
  return ask<Pick<LlamaAnswer, 'losses'>>(python, 'llama_cpp_losses.py', [], scratch, request);
}

/** What a script beside this one, given options and the request's file, prints as its last line. */
async function ask<Answer>(
  program: string,
  script: string,
  options: string[],
  scratch: string,
  request: LlamaRequest,
): Promise<Answer> {
  const file = path.join(scratch, 'llama-request.json');
  writeFileSync(file, JSON.stringify(request));
  const { stdout } = await promisify(execFile)(
    program,
    [path.join(root, 'scripts', 'acceptance', script), ...options, file],
    { maxBuffer: 2 ** 28 },
  );
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Answer;
}
