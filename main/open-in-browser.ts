import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** The browser has read the file long before. */
const keptMs = 60_000;

/**
 * Shows an address with a token in the system's browser. Arguments of programs can be seen by every user of the computer, so that the browser is given a file
 * that only this user can read and that leads on to the address. Best effort: the address is printed as well.
 */
export function openInBrowser(address: string): void {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-open-'));
  const file = path.join(folder, 'open.html');
  writeFileSync(file, redirectPage(address), { mode: 0o600 });
  const [program, args] = openerOf(process.platform, pathToFileURL(file).href);
  const child = spawn(program, args, { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
  setTimeout(() => rmSync(folder, { recursive: true, force: true }), keptMs).unref();
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
}

export function redirectPage(address: string): string {
  const escaped = address.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=${escaped}"><title>DBell Studio</title>\n`;
}

function openerOf(platform: NodeJS.Platform, url: string): [string, string[]] {
  if (platform === 'darwin') return ['open', [url]];
  if (platform === 'win32') return ['explorer.exe', [url]];
  return ['xdg-open', [url]];
}
