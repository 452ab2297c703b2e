import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { redirectPage } from '../../main/open-in-browser.ts';
import { findElectron, hasDisplay, whyNoWindow } from '../../main/start-electron.ts';
import { parseStartOptions } from '../../main/start-options.ts';
import { openClient } from '../engine/web-support.ts';

const root = path.resolve(import.meta.dirname, '..', '..');

test('options are read, and wrong ones are refused', () => {
  expect(parseStartOptions([])).toEqual({
    browser: false,
    host: '127.0.0.1',
    port: 0,
    open: true,
    help: false,
  });
  expect(parseStartOptions(['--browser', '--port', '8080', '--no-open'])).toMatchObject({
    browser: true,
    port: 8080,
    open: false,
  });
  for (const args of [
    ['--port', 'x'],
    ['--port', '70000'],
    ['--port', '-1'],
    ['--port', ''],
    ['--port', '1e3'],
    ['--host', '0.0.0.0'],
    ['--host', '::'],
    ['--host', 'name'],
    ['--what'],
    ['extra'],
  ]) {
    expect(() => parseStartOptions(args)).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  }
});

test('a mistyped option is answered with what is near', () => {
  expect(() => parseStartOptions(['--prot', '1'])).toThrow("unknown option '--prot'; did you mean --port?");
  expect(() => parseStartOptions(['--what'])).toThrow('--help lists the options');
});

test('a port that is taken is said in words, with the code of wrong usage', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const child = spawn(
    process.execPath,
    [path.join(root, 'main', 'start.ts'), '--browser', '--no-open', '--port', String(port)],
    {
      env: { ...process.env, DBELL_HOME: mkdtempSync(path.join(os.tmpdir(), 'dbell-port-')) },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
  });
  const exitCode = await new Promise((resolve) => child.on('close', resolve));
  taken.close();
  expect(stderr).toMatch(new RegExp(`^port ${port} of 127\\.0\\.0\\.1 is taken by another program`));
  expect(exitCode).toBe(2);
});

test('a window needs Electron and a display, and it is said which is missing', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-electron-'));
  expect(findElectron({}, folder)).toBeNull();
  mkdirSync(path.join(folder, 'dist'));
  writeFileSync(path.join(folder, 'path.txt'), 'electron');
  expect(findElectron({}, folder)).toBeNull();
  writeFileSync(path.join(folder, 'dist', 'electron'), '');
  expect(findElectron({}, folder)).toBe(path.join(folder, 'dist', 'electron'));
  expect(findElectron({ ELECTRON_OVERRIDE_DIST_PATH: path.join(folder, 'other') }, folder)).toBeNull();
  expect(hasDisplay({}, 'linux')).toBe(false);
  expect(hasDisplay({ DISPLAY: ':0' }, 'linux')).toBe(true);
  expect(hasDisplay({ WAYLAND_DISPLAY: 'wayland-0' }, 'linux')).toBe(true);
  expect(hasDisplay({}, 'darwin')).toBe(true);
  expect(whyNoWindow(null, true)).toContain('Electron');
  expect(whyNoWindow('/e', false)).toContain('display');
  expect(whyNoWindow('/e', true)).toBeNull();
});

test('the page that leads to the address cannot be made to lead elsewhere', () => {
  expect(redirectPage('http://127.0.0.1:1/#token="><script>')).not.toContain('<script>');
});

test('npm start without a display serves the page and ends with its last process', async () => {
  const home = mkdtempSync(path.join(os.tmpdir(), 'dbell-start-'));
  const child = spawn(process.execPath, [path.join(root, 'main', 'start.ts'), '--no-open'], {
    env: { ...process.env, DBELL_HOME: home, DISPLAY: '', WAYLAND_DISPLAY: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const address = await new Promise<URL>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const found = /http:\S+/.exec(output);
      if (found) resolve(new URL(found[0]));
    });
    child.once('exit', () => reject(new Error(`ended: ${output}`)));
  });
  expect(output).toContain('The studio opens in the browser');
  const { client, socket } = await openClient(address, { token: address.hash.slice('#token='.length) });
  await expect(client.call('jobs.list', {})).resolves.toEqual({ jobs: [] });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  await closed;
  await expect(fetch(address.origin)).rejects.toThrow();
});
