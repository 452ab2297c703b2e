import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunPage, Wizard, workTimeoutMs } from './pages.ts';
import { openWindows, type Windows } from './windows.ts';

describe.skipIf(browserPath === null)('the screen of a run', () => {
  let studio: Windows;
  beforeAll(async () => {
    studio = await openWindows();
  }, workTimeoutMs);
  afterAll(() => studio?.close());

  test(
    'it names what is made and shows the tasks that were chosen and no others; what is done stays ticked, across a reload',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.chooseSample();
      await wizard.chooseRecipe('rtn-4');
      await wizard.next();
      await wizard.keepItShort({ quality: false, benchmark: true });
      const output = await page.getByLabel('Package folder').inputValue();
      await wizard.run();
      const run = new RunPage(page);
      await expect.poll(() => run.subject()).toMatch(/^dbell-stories-7m · rtn-4 · A8 → /);
      expect(await run.subject()).toContain(output);
      await page.getByRole('button', { name: `Copy the path ${output}` }).click();
      expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(output);
      await run.watchTasks();
      await expect
        .poll(() => run.tasks(), { timeout: workTimeoutMs })
        .toEqual(['done: Quantize', 'Benchmark']);
      const before = await run.watchedTasks();
      await page.reload();
      await expect.poll(() => run.tasks()).toEqual(['done: Quantize', 'Benchmark']);
      await run.watchTasks();
      await wizard.waitForResult();
      for (const tasks of [...before, ...(await run.watchedTasks())]) {
        expect(tasks.map((task) => task.replace('done: ', ''))).toEqual(['Quantize', 'Benchmark']);
      }
      // The result says the same.
      await page.getByRole('heading', { name: 'dbell-stories-7m · rtn-4 · A8' }).waitFor();
      await page.getByRole('button', { name: `Copy the path ${output}` }).waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );
});
