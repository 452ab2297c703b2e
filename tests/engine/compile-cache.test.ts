import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bundled } from '../assets.ts';

const root = path.resolve(import.meta.dirname, '..', '..');
const home = mkdtempSync(path.join(os.tmpdir(), 'dbell-compile-cache-'));

afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Files whose types were removed by an earlier process, as Node says of a command and of the process that does its work. */
function takenFromCache(environment: Record<string, string>): string[] {
  const { NODE_COMPILE_CACHE: _, ...inherited } = process.env;
  const { stderr, status } = spawnSync(
    process.execPath,
    [path.join('engine', 'cli', 'dbell.js'), 'inspect', bundled.model],
    {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
      env: {
        ...inherited,
        DBELL_HOME: home,
        DBELL_DEBUG: '1',
        NODE_DEBUG_NATIVE: 'COMPILE_CACHE',
        ...environment,
      },
    },
  );
  expect(status).toBe(0);
  const found = stderr.matchAll(
    /retrieving transpile cache for StrippedTypeScript file:\S*\/(engine\/\S+?\.ts)\.\.\.success/g,
  );
  return [...found].map(([, file]) => file ?? '');
}

test('a command and its work process take what Node made of the sources from the time before, unless that is turned off', () => {
  takenFromCache({});
  expect(takenFromCache({})).toEqual(
    expect.arrayContaining(['engine/cli/main.ts', 'engine/service/work-process.ts']),
  );
  expect(takenFromCache({ NODE_DISABLE_COMPILE_CACHE: '1' })).toEqual([]);
});
