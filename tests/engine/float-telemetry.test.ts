import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '..', '..');

/** Files that import the library, in the whole project. */
function importers(): string[] {
  return ['engine', 'main', 'scripts']
    .flatMap((folder) =>
      readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
        path.join(folder, file),
      ),
    )
    .filter((file) => file.endsWith('.ts'))
    .filter((file) => /^import .*'onnxruntime-node'/m.test(readFileSync(path.join(root, file), 'utf8')));
}

test('onnxruntime reports to nobody', async () => {
  // It is silent by itself where tests run, so this process has none of the variables that make it so. Where it reports, it leaves a file in the temporary folder.
  const { CI, ORT_RUNNING_UNIT_TESTS, ORT_DISABLE_TELEMETRY, ...environment } = process.env;
  const folder = mkdtempSync(path.join(tmpdir(), 'dbell-telemetry-'));
  try {
    const code = `
      await import('./engine/float/session.ts');
      const { InferenceSession } = await import('onnxruntime-node');
      await InferenceSession.create(new Uint8Array([1, 2, 3])).catch((error) => console.log(error.message));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
      cwd: root,
      env: { ...environment, TMPDIR: folder },
    });
    expect(stdout).toContain('protobuf');
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 60_000);

test('what imports onnxruntime silences it first', () => {
  const files = importers();
  expect(files).toContain(path.join('engine', 'float', 'session.ts'));
  for (const file of files)
    expect(readFileSync(path.join(root, file), 'utf8')).toMatch(
      /^import '[./\w-]*no-telemetry\.ts';\n[\s\S]*'onnxruntime-node'/,
    );
});
