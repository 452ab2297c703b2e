import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { _electron, type ElectronApplication } from '@playwright/test';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findElectron, hasDisplay, whyNoWindow } from '../../main/start-electron.ts';
import { strings } from '../../renderer/src/strings/index.ts';
import { appFolder, buildDesktop } from '../../scripts/desktop/build.ts';

/** The program in the real Electron, where it and a display are there; elsewhere skipped by name (docs/packaging.md). */

const electron = findElectron();
const missing = whyNoWindow(electron, hasDisplay());

describe.skipIf(missing !== null)(`in Electron${missing === null ? '' : ` (${missing})`}`, () => {
  const home = mkdtempSync(path.join(os.tmpdir(), 'dbell-electron-'));
  let program: ElectronApplication;
  beforeAll(async () => {
    await buildDesktop({ platform: process.platform, architecture: process.arch }, false);
    program = await _electron.launch({
      executablePath: electron!,
      args: [appFolder, `--user-data-dir=${path.join(home, 'user-data')}`],
      env: { ...(process.env as Record<string, string>), DBELL_HOME: path.join(home, 'data') },
    });
  });
  afterAll(async () => {
    await program?.close();
    rmSync(home, { recursive: true, force: true });
  });

  test('the window shows the studio, connected to the engine, and nothing violates its policy', async () => {
    const window = await program.firstWindow();
    const problems: string[] = [];
    window.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text());
    });
    await window.getByText(strings.places.runs).first().waitFor();
    expect(window.url()).toBe('app://studio/');
    expect(await window.evaluate('typeof process + typeof require')).toBe('undefinedundefined');
    expect(await window.evaluate('Object.keys(window.dbellDesktop).includes("openEngine")')).toBe(true);
    expect(problems).toEqual([]);
  });

  test('the program answers no request to the network', async () => {
    const window = await program.firstWindow();
    expect(
      await window.evaluate('fetch("https://example.com").then(() => "answered", () => "refused")'),
    ).toBe('refused');
  });
});
