import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { packTinyModel, tinyModels } from '../engine/package-support.ts';
import { browserPath } from './browser.ts';
import { workTimeoutMs } from './pages.ts';
import { checkScreen } from './screen-check.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

describe.skipIf(browserPath === null)('a report', () => {
  const studio = windowsForTests(async (opened) => {
    const made = await packTinyModel('llama-untied', path.join(opened.home, 'tiny-package'), { levels: 4 });
    fillHistory(opened.home, [
      runOf({
        runId: 'tiny',
        modelPath: path.join(tinyModels, 'llama-untied'),
        artifacts: [{ kind: 'package', path: made, bytes: 1 }],
      }),
    ]);
  });

  test(
    'shows the weights of one row or column before and after, and says when there is no such one',
    async () => {
      const page = await studio.open();
      await page.goto(`${studio.origin}/#/runs/tiny`);
      await page.getByText('Weights of one channel').click({ timeout: workTimeoutMs });
      await page.getByRole('button', { name: 'Show' }).click();
      await page.getByRole('heading', { name: /^Row 0 of / }).waitFor({ timeout: workTimeoutMs });
      await page.getByText(/differs by \d/).waitFor();
      await page.getByRole('radio', { name: 'Column' }).check();
      await page.getByLabel('Number, from 0').fill('5');
      await page.getByRole('button', { name: 'Show' }).click();
      await page.getByRole('heading', { name: /^Column 5 of / }).waitFor({ timeout: workTimeoutMs });
      await page.getByLabel('Number, from 0').fill('100000');
      await page.getByRole('button', { name: 'Show' }).click();
      await page
        .getByRole('alert')
        .getByText(/there is no column 100000/)
        .waitFor({ timeout: workTimeoutMs });
      expect(await checkScreen(page, 'channel-weights', 'light-1280')).toEqual([]);
      // What was shown before stays.
      expect(await page.getByRole('heading', { name: /^Column 5 of / }).count()).toBe(1);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
