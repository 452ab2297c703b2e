import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';

const script = path.resolve(import.meta.dirname, '../../scripts/acceptance/main.ts');
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

test('acceptance --help explains itself and does nothing else', () => {
  const { status, stdout, stderr } = run('--help');
  expect([status, stderr]).toEqual([0, '']);
  for (const option of ['--list', '--only', '--again', '--scratch', '--help'])
    expect(stdout).toContain(option);
});

test('an unknown option is named, with the help and without a stack', () => {
  const { status, stdout, stderr } = run('--lost');
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toContain("'--lost'");
  expect(stderr).toContain('--scratch DIR');
  expect(stderr).not.toMatch(/\n\s+at /);
});
