import type { Page } from '@playwright/test';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

/** Names that others chose: of markup, turned around, without end. */
const names = {
  markup: '<img src=x onerror=alert(1)><b>bold</b>',
  turned: 'abc\u202egpj.exe\u2066\u200f\u0007\u001b[31mred',
  endless: 'x'.repeat(3000),
} as const;

/** Characters that no page may show: they turn the words around them, or command a terminal they are copied to. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these very characters are meant.
const forbidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/;

describe.skipIf(browserPath === null)('a history with hostile names', () => {
  const studio = windowsForTests(async (opened) => {
    fillHistory(
      opened.home,
      Object.entries(names).map(([runId, name]) =>
        runOf({
          runId,
          modelName: name,
          recipe: name.slice(0, 100),
          note: name,
          tags: [name.slice(0, 30)],
          modelPath: `/models/${name}`,
          metrics: { storedBitsPerWeight: 1e300, perplexity: 1e-300 },
        }),
      ),
    );
  });

  /** The page as it should be: words as words, all of its buttons in sight. */
  async function expectHarmless(page: Page): Promise<void> {
    expect(await page.locator('main img, main b').count()).toBe(0);
    expect(await page.locator('main').textContent()).not.toMatch(forbidden);
    const width = page.viewportSize()!.width;
    for (const button of await page.getByRole('main').getByRole('button').all()) {
      const box = await button.boundingBox();
      if (box) expect(box.x + box.width).toBeLessThanOrEqual(width);
    }
  }

  test(
    'is shown as words, in the table, in reports and in the palette',
    async () => {
      const page = await studio.open({ width: 900, height: 600 });
      const runs = new RunsPage(page);
      await runs.open();
      await expect.poll(() => runs.rows().count(), { timeout: workTimeoutMs }).toBe(3);
      await expectHarmless(page);
      for (const runId of Object.keys(names)) {
        await page.goto(`${studio.origin}/#/runs/${runId}`);
        await page
          .getByRole('button', { name: 'Run again with changes' })
          .waitFor({ timeout: workTimeoutMs });
        await expectHarmless(page);
      }
      await page.goto(`${studio.origin}/#/runs/compare/${Object.keys(names).join(',')}`);
      await page.getByText('Settings that differ').waitFor({ timeout: workTimeoutMs });
      expect(await page.locator('main').textContent()).not.toMatch(forbidden);
      await page.keyboard.press('Control+k');
      const palette = page.getByRole('dialog', { name: 'Commands' });
      await palette.getByText(names.markup).first().waitFor();
      expect(await palette.textContent()).not.toMatch(forbidden);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
