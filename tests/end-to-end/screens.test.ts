import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { Wizard, workTimeoutMs } from './pages.ts';
import { openWindows, type Windows } from './windows.ts';

/** Pictures of every screen, kept with the build. */
const pictures = path.resolve(import.meta.dirname, '..', '..', 'build', 'screens');

const screens: { name: string; go: (page: Page) => Promise<unknown> }[] = [
  {
    name: 'model',
    go: (page) => page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs }),
  },
  {
    name: 'goal',
    go: (page) => page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs }),
  },
  { name: 'calibration', go: (page) => page.getByText('Window 1').waitFor({ timeout: workTimeoutMs }) },
  { name: 'runs', go: (page) => page.getByRole('heading', { name: 'Runs', level: 1 }).waitFor() },
  { name: 'playground', go: (page) => page.getByText('Nothing written yet').waitFor() },
  { name: 'benchmark', go: (page) => page.getByText('No measurement here yet').waitFor() },
  { name: 'settings', go: (page) => page.getByText('Copy diagnostics').waitFor({ timeout: workTimeoutMs }) },
];
const addresses: Record<string, string> = {
  model: '#/new/model',
  goal: '#/new/goal',
  calibration: '#/new/calibration',
  runs: '#/runs',
  playground: '#/playground',
  benchmark: '#/benchmark',
  settings: '#/settings',
};

describe.skipIf(browserPath === null)('every screen', () => {
  let studio: Windows;
  beforeAll(async () => {
    studio = await openWindows();
    mkdirSync(pictures, { recursive: true });
    const page = await studio.open();
    await new Wizard(page).chooseSample();
    await page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs });
    await page.close();
  }, workTimeoutMs);
  afterAll(() => studio?.close());

  test.each([
    { theme: 'light', width: 1280, height: 800 },
    { theme: 'dark', width: 1280, height: 800 },
    { theme: 'light', width: 900, height: 600 },
    { theme: 'dark', width: 900, height: 600 },
  ] as const)(
    'is accessible and fits its window: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      const found: string[] = [];
      for (const { name, go } of screens) {
        await page.goto(`${studio.origin}/${addresses[name]}`);
        await go(page);
        await page.screenshot({ path: path.join(pictures, `${name}-${theme}-${width}.png`) });
        const { violations } = await new AxeBuilder({ page }).analyze();
        for (const { id, impact, nodes } of violations) {
          if (impact !== 'serious' && impact !== 'critical') continue;
          found.push(
            `${name}: ${id}: ${nodes
              .map(({ target }) => target.join(' '))
              .slice(0, 4)
              .join(' | ')}`,
          );
        }
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (overflow > 0) found.push(`${name}: ${overflow} px wider than the window`);
      }
      expect(found).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
