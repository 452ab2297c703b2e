import { spawn } from 'node:child_process';
import path from 'node:path';
import { endsWithUs } from '../children.ts';
import { root } from './harness.ts';

export const assets = path.resolve(root, process.env.DBELL_ASSETS ?? '../shared');

/** Runs `dbell … --json` and returns the object it prints; throws with its messages if it fails. */
export async function dbell(
  args: string[],
  options: { home: string; env?: NodeJS.ProcessEnv },
): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await runDbell([...args, '--json'], options);
  if (code !== 0)
    throw new Error(
      `dbell ${args.join(' ')} ended with ${code}: ${stderr.trim().split('\n').slice(-3).join(' ')}`,
    );
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** `timeoutMs`: the command is ended after so long. */
export function runDbell(
  args: string[],
  options: { home: string; env?: NodeJS.ProcessEnv; timeoutMs?: number },
): Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = endsWithUs(
      spawn(process.execPath, [path.join(root, 'engine', 'cli', 'dbell.js'), ...args], {
        cwd: root,
        env: { ...process.env, DBELL_HOME: options.home, ...options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
      }),
    );
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** A number at `key` of what a command printed. */
export function numberAt(output: Record<string, unknown>, key: string): number {
  const value = output[key];
  if (typeof value !== 'number')
    throw new Error(`the command's output has no number "${key}": ${JSON.stringify(output).slice(0, 300)}`);
  return value;
}
