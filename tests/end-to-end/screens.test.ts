import type { Page } from '@playwright/test';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { windowsForTests } from './windows.ts';

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
  const studio = windowsForTests(async (opened) => {
    const page = await opened.open();
    await new Wizard(page).chooseSample();
    await page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs });
    await page.close();
  });

  test.each(screenVariants)(
    'is accessible and fits its window: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      const found: string[] = [];
      for (const { name, go } of screens) {
        await page.goto(`${studio.origin}/${addresses[name]}`);
        await go(page);
        found.push(...(await checkScreen(page, name, `${theme}-${width}`)));
      }
      expect(found).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
