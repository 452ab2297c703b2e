#!/usr/bin/env node
// Plain JavaScript that any Node understands: it says what is missing instead of failing on syntax, and finds the Node that the project brings.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import '../service/compile-cache.js';

/** TypeScript runs without a build step from here on. */
const oldestNode = [22, 18];

const here = path.dirname(fileURLToPath(import.meta.url));
const [major, minor] = process.versions.node.split('.').map(Number);

if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) {
  const { main } = await import('./main.ts');
  process.exitCode = await main(process.argv.slice(2));
} else {
  runWithOwnNode();
}

/** Starts the same command under the Node of node_modules, passing on signals and the exit code. */
function runWithOwnNode() {
  const root = path.resolve(here, '..', '..');
  const name = process.platform === 'win32' ? 'node.exe' : 'node';
  const ownNode = [
    path.join(root, 'node_modules', 'node', 'bin', name),
    path.join(root, 'node_modules', '.bin', name),
  ].find(existsSync);
  if (!ownNode || process.env.DBELL_STARTED_BY_SHIM) {
    console.error(
      `dbell needs Node ${oldestNode.join('.')} or newer; this is ${process.versions.node}. Run npm ci in ${root}, which brings its own, or install a newer Node.`,
    );
    process.exitCode = 1;
    return;
  }
  const child = spawn(ownNode, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, DBELL_STARTED_BY_SHIM: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`dbell: ${ownNode} could not be started: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    process.exitCode = signal ? 1 : (code ?? 1);
  });
}
