import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeFolders } from '../../engine/files/folders.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-folders-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('folders are made with those above them, and may be there already', () => {
  const deep = path.join(folder, 'a', 'b ü', 'c');
  makeFolders(deep);
  makeFolders(deep);
  expect(existsSync(deep)).toBe(true);
});

test('what stands in the way is an error', () => {
  writeFileSync(path.join(folder, 'file'), '');
  symlinkSync(path.join(folder, 'nowhere'), path.join(folder, 'link'));
  expect(() => makeFolders(path.join(folder, 'file'))).toThrow('EEXIST');
  expect(() => makeFolders(path.join(folder, 'file', 'x'))).toThrow('ENOTDIR');
  expect(() => makeFolders(path.join(folder, 'link'))).toThrow('EEXIST');
});

test.runIf(process.platform === 'linux')('a file system without folders of ours ends the attempt', () => {
  expect(() => makeFolders('/proc/dbell-nothing/x')).toThrow('ENOENT');
});
