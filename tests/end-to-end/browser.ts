import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium } from '@playwright/test';

const root = path.resolve(import.meta.dirname, '..', '..');

/** Where systems keep a Chromium or Chrome. */
const systemBrowsers: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: [
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/usr/bin/google-chrome-stable',
    '/snap/bin/chromium',
  ],
  darwin: [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
  ],
  win32: [
    'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
    'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
  ],
};

/** It calls nowhere: no first run, no updates, no sync. Chromium's own sandbox cannot be had as root in a container. */
const browserArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const downloadMs = 180_000;

/**
 * A browser for the end-to-end tests: DBELL_BROWSER, the system's Chromium or Chrome, Playwright's own, which is fetched where there is none. Null where
 * even that fails; then these tests are skipped by name, or fail with DBELL_REQUIRE_ASSETS=1.
 */
function findBrowser(): string | null {
  const configured = process.env.DBELL_BROWSER;
  if (configured) return configured;
  const installed = [...(systemBrowsers[process.platform] ?? []), chromium.executablePath()].find(existsSync);
  if (installed) return installed;
  const playwright = path.join(root, 'node_modules', '@playwright', 'test', 'cli.js');
  spawnSync(process.execPath, [playwright, 'install', 'chromium'], { timeout: downloadMs, stdio: 'ignore' });
  if (existsSync(chromium.executablePath())) return chromium.executablePath();
  if (process.env.DBELL_REQUIRE_ASSETS === '1') {
    throw new Error('there is no Chromium; install one (apt-get install chromium) or set DBELL_BROWSER');
  }
  return null;
}

export const browserPath = findBrowser();

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: browserPath!, args: browserArguments });
}
