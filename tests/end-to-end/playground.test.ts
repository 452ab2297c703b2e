import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { PlaygroundPage, workTimeoutMs } from './pages.ts';
import { seriousViolations } from './screen-check.ts';
import { windowsForTests } from './windows.ts';

describe.skipIf(browserPath === null)('the playground', () => {
  const studio = windowsForTests();

  test(
    'shows of each token what the model thought most probable, under the pointer and by keyboard, also after a reload',
    async () => {
      const page = await studio.open();
      const playground = new PlaygroundPage(page);
      await playground.open();
      await playground.write('One day, a little fox', 12);
      const tokens = page.getByRole('option');
      const count = await tokens.count();
      expect(count).toBeGreaterThan(5);
      await tokens.nth(2).hover();
      const tip = page.locator('.tip');
      await tip.waitFor();
      const rows = (await tip.textContent())!.split('\n').filter((row) => row !== '…');
      expect(rows.length).toBeGreaterThanOrEqual(5);
      const shares = rows.slice(0, 5).map((row) => Number.parseFloat(row));
      expect([...shares].sort((a, b) => b - a)).toEqual(shares);
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(100.5);
      expect(rows.filter((row) => row.endsWith('✓'))).toHaveLength(1);

      await page.reload();
      await expect.poll(() => tokens.count()).toBe(count);
      // One stop for the whole text; the arrow keys go on from there.
      await page.mouse.move(0, 0);
      await tokens.first().focus();
      await page.keyboard.press('ArrowRight');
      await tip.waitFor();
      expect(await tip.textContent()).toContain('✓');
      expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-selected'))).toBe('true');
      await page.keyboard.press('End');
      expect(await page.evaluate(() => document.activeElement?.nextElementSibling)).toBeNull();
      expect(await page.locator('[role=option][tabindex="0"]').count()).toBe(1);

      expect((await seriousViolations(page)).map(({ id }) => id)).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'asks for no probabilities where they are switched off',
    async () => {
      const page = await studio.open();
      const playground = new PlaygroundPage(page);
      await playground.open();
      await page.getByRole('switch', { name: 'Probabilities' }).click();
      await playground.write('Once', 4);
      expect(await page.getByRole('option').count()).toBe(0);
      expect((await page.getByRole('log').first().textContent())!.length).toBeGreaterThan(4);
      await page.close();
    },
    workTimeoutMs,
  );
});
