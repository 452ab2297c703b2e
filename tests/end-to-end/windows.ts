import type { BrowserContext, Page } from '@playwright/test';
import { afterAll, beforeAll } from 'vitest';
import { buildPage, isPageStale } from '../../main/page-build.ts';
import { launchBrowser } from './browser.ts';
import { workTimeoutMs } from './pages.ts';
import { openPage, type StudioOptions, startStudio } from './studio.ts';

export interface WindowOptions {
  theme?: 'light' | 'dark';
  width?: number;
  height?: number;
}

/** A studio and windows of one browser on it. */
export interface Windows {
  home: string;
  context: BrowserContext;
  origin: string;
  /** Where one more client gets in. */
  createAddress(): Promise<string>;
  /** Of the engine's process now; a restart changes it. */
  servicePid(): number | undefined;
  /** It shares the session with the others, not the page's state. */
  open(options?: WindowOptions): Promise<Page>;
  /** What no window may ever do, of all windows so far. */
  faults(): string[];
  close(): Promise<void>;
}

export async function openWindows(options: StudioOptions = {}): Promise<Windows> {
  if (isPageStale()) buildPage();
  const studio = await startStudio(options);
  const browser = await launchBrowser().catch(async (error: unknown) => {
    await studio.close();
    throw error;
  });
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  const all: Awaited<ReturnType<typeof openPage>>['watched'][] = [];
  return {
    home: studio.home,
    context,
    origin: studio.origin,
    createAddress: () => studio.createAddress(),
    servicePid: () => studio.servicePid(),
    async open({ theme = 'light', width = 1280, height = 800 } = {}) {
      const address = all.length === 0 ? await studio.createAddress() : `${studio.origin}/`;
      const { page, watched } = await openPage(context, studio.origin, address);
      all.push(watched);
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: theme });
      await page.getByRole('main').getByRole('heading').first().waitFor();
      return page;
    },
    faults: () => all.flatMap(({ foreignRequests, problems }) => [...foreignRequests, ...problems]),
    async close() {
      await browser.close();
      await studio.close();
    },
  };
}

/** The studio of the tests of one `describe`, opened before the first of them, where `prepare` has it, and closed behind the last. */
export function windowsForTests(prepare?: (opened: Windows) => unknown): Windows {
  let opened: Windows | null = null;
  beforeAll(async () => {
    opened = await openWindows();
    await prepare?.(opened);
  }, workTimeoutMs);
  afterAll(() => opened?.close());
  return new Proxy({} as Windows, {
    get(_, name) {
      if (opened === null) throw new Error('the studio is opened before the first test');
      return Reflect.get(opened, name);
    },
  });
}
