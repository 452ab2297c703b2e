import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunPage, RunsPage, Wizard, workTimeoutMs } from './pages.ts';
import { windowsForTests } from './windows.ts';

describe.skipIf(browserPath === null)('the screen of a run', () => {
  const studio = windowsForTests();

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
        .toEqual(['done: Quantize', 'done: Verify', 'Benchmark']);
      const before = await run.watchedTasks();
      await page.reload();
      // A page that loads beside a benchmark takes its time on two cores.
      await page.getByRole('list', { name: 'Tasks' }).waitFor();
      await expect.poll(() => run.tasks()).toEqual(['done: Quantize', 'done: Verify', 'Benchmark']);
      await run.watchTasks();
      await wizard.waitForResult();
      for (const tasks of [...before, ...(await run.watchedTasks())]) {
        expect(tasks.map((task) => task.replace('done: ', ''))).toEqual(['Quantize', 'Verify', 'Benchmark']);
      }
      // The result says the same.
      await page.getByRole('heading', { name: 'dbell-stories-7m · rtn-4 · A8' }).waitFor();
      await page.getByRole('button', { name: `Copy the path ${output}` }).waitFor();

      // Verified with the run, again when asked to, and found out when a byte has changed.
      const verification = page.getByRole('region', { name: 'Verification' });
      await verification.getByText('weights compared with dbell-stories-7m').waitFor();
      expect(await verification.getByRole('link').count()).toBe(0);
      await verification.getByRole('button', { name: 'Verify again' }).click();
      await verification.getByRole('link').waitFor({ timeout: workTimeoutMs });
      expect(await verification.textContent()).toContain('Verified');
      const file = path.join(output, 'model.safetensors');
      const bytes = readFileSync(file);
      bytes[bytes.length - 100]! ^= 1;
      writeFileSync(file, bytes);
      const runs = new RunsPage(page);
      await runs.open();
      await runs.row('rtn-4').filter({ hasText: 'Quantization' }).getByRole('checkbox').check();
      await page.getByRole('button', { name: 'Verify' }).click();
      const damaged = verification.getByRole('alert').filter({ hasText: 'This package is damaged' });
      await damaged.getByText(/model\.safetensors/).waitFor({ timeout: workTimeoutMs });
      await runs.open();
      await expect.poll(() => runs.rows().filter({ hasText: 'Verification' }).count()).toBe(2);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );
});
