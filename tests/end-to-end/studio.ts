import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { BrowserContext, Page } from '@playwright/test';
import { superviseWebService } from '../../engine/service/web-server/supervise.ts';
import { pageFolder } from '../../main/page-build.ts';

/** Browser mode over the built page and the real engine, with a home of its own. */
export interface Studio {
  origin: string;
  home: string;
  createAddress(): Promise<string>;
  servicePid(): number | undefined;
  close(): Promise<void>;
}

export interface StudioOptions {
  /** A home that is there already, and stays; by default an empty one, which goes with the studio. */
  home?: string;
}

export async function startStudio(options: StudioOptions = {}): Promise<Studio> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-end-to-end-'));
  const home = options.home ?? path.join(folder, 'home');
  const service = await superviseWebService({ home, pageFolder });
  return {
    origin: service.origin,
    home,
    createAddress: () => service.createAddress(),
    servicePid: () => service.pid(),
    async close() {
      await service.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What no page of ours may ever do; a test looks at it in the end. */
export interface Watched {
  /** Requests to another origin. */
  foreignRequests: string[];
  /** Violations of the content security policy, errors in the console, uncaught exceptions. */
  problems: string[];
}

/** Opens a page and watches it. */
export async function openPage(
  context: BrowserContext,
  origin: string,
  address: string,
): Promise<{ page: Page; watched: Watched }> {
  const page = await context.newPage();
  const watched: Watched = { foreignRequests: [], problems: [] };
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) watched.foreignRequests.push(url);
  });
  page.on('websocket', (socket) => {
    if (!socket.url().startsWith(`${origin.replace('http', 'ws')}/`))
      watched.foreignRequests.push(socket.url());
  });
  page.on('console', (message) => {
    if (message.type() === 'error') watched.problems.push(message.text());
  });
  page.on('pageerror', (error) => watched.problems.push(String(error)));
  // As text: the tests are checked without the types of a page.
  await page.addInitScript(`
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) => {
      console.error('policy violation: ' + violatedDirective + ' ' + blockedURI + ' ' + sample);
    });
  `);
  await page.goto(address);
  return { page, watched };
}
