import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const cli = path.join(root, 'engine', 'cli', 'dbell.js');

export interface CliResult {
  exitCode: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  child: ChildProcess;
  done: Promise<CliResult>;
  /** Resolves when standard output or error contains the text; fails where the command ends before. */
  until(text: string): Promise<void>;
}

/** Starts `dbell` as a person would: a process of its own with pipes. */
export function startCli(args: string[], environment: Record<string, string> = {}): RunningCli {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const watchers: { text: string; resolve: () => void; reject: (error: Error) => void }[] = [];
  const check = () => {
    for (const watcher of watchers) {
      if (stdout.includes(watcher.text) || stderr.includes(watcher.text)) watcher.resolve();
    }
  };
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('utf8');
    check();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
    check();
  });
  const done = new Promise<CliResult>((resolve) => {
    child.on('close', (exitCode, signal) => {
      for (const { text, reject } of watchers) {
        reject(new Error(`dbell ended without printing "${text}": ${stderr}`));
      }
      resolve({ exitCode, signal, stdout, stderr });
    });
  });
  return {
    child,
    done,
    until: (text) =>
      new Promise((resolve, reject) => {
        watchers.push({ text, resolve, reject });
        check();
      }),
  };
}

export function runCli(args: string[], environment: Record<string, string> = {}): Promise<CliResult> {
  return startCli(args, environment).done;
}

/** Standard output as the one JSON value that it must be. */
export function onlyJson(result: CliResult): Record<string, unknown> {
  if (!result.stdout.endsWith('\n') || result.stdout.trimEnd().includes('\n')) {
    throw new Error(`expected one line of JSON on standard output, got: ${result.stdout}`);
  }
  return JSON.parse(result.stdout) as Record<string, unknown>;
}
