import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { bundled } from '../assets.ts';

const root = path.resolve(import.meta.dirname, '..', '..');

/** Starts a program within a shell, as npm does, and ends the shell once the program has spoken. Resolves with all that it said when its output is closed. */
function withoutShell(args: string[], environment: Record<string, string>, spoken: string): Promise<string> {
  return new Promise((resolve, reject) => {
    // A command behind it keeps the shell from becoming the program.
    const shell = spawn('/bin/sh', ['-c', '"$@"; exit $?', 'sh', process.execPath, ...args], {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [shell.stdout, shell.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes(spoken)) shell.kill('SIGTERM');
      });
    shell.on('error', reject);
    shell.on('close', () => resolve(said));
  });
}

test.skipIf(process.platform === 'win32')(
  'a quantization under npx stops, resumable, when the shell that npm runs it in is ended',
  async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-launcher-'));
    try {
      const said = await withoutShell(
        [
          ...['engine/cli/dbell.js', 'quantize', bundled.model, '--recipe', 'dbellquant', '--windows', '64'],
          ...['--context', '512', '--out', path.join(folder, 'out'), '--events'],
        ],
        { DBELL_HOME: path.join(folder, 'home'), npm_command: 'exec' },
        '"type":"job-progress"',
      );
      expect(said).toContain('Stopping at the next safe point');
      expect(said).toContain('"code":"stopped"');
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  60_000,
);

test.skipIf(process.platform === 'win32')(
  'a script takes the commands that it runs with it',
  async () => {
    const script = `
      import { spawn } from 'node:child_process';
      import { endsWithUs } from '${path.join(root, 'scripts', 'children.ts')}';
      const child = endsWithUs(spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => { console.log("told"); process.exit(0); }); console.log("runs"); setInterval(() => {}, 1000)'], { stdio: 'inherit' }));
    `;
    const args = ['--input-type=module', '-e', script];
    expect(await withoutShell(args, { npm_command: 'run-script' }, 'runs')).toContain('told');
  },
  60_000,
);
