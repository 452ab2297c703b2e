import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { picture, RunsPage, Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen } from './screen-check.ts';
import { windowsForTests } from './windows.ts';

describe.skipIf(browserPath === null)('the studio in a browser', () => {
  const studio = windowsForTests();

  test(
    'a model goes from the sample to a judged and benchmarked package, across a reload and in two windows',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.chooseSample();
      await page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs });
      await picture(page, 'wizard');
      await wizard.chooseRecipe('dbellquant');
      await wizard.next();
      await page.getByText('Window 1').waitFor({ timeout: workTimeoutMs });
      await wizard.keepItShort({ quality: true, benchmark: true, original: true });
      await wizard.run();
      await wizard.waitForLayers(3);

      // A second window and a reloaded one show what happened before they listened.
      const before = await wizard.layersDone();
      const second = await studio.open();
      await second.goto(page.url());
      await page.reload();
      await wizard.waitForLayers(before);
      await new Wizard(second).waitForLayers(before);
      await picture(page, 'run');

      await wizard.waitForResult();
      await second.close();
      expect(await page.getByRole('region', { name: 'Verdict' }).textContent()).toMatch(
        /Usable|Degraded|Broken/,
      );
      await page.getByText('Worst layers').waitFor();
      await page.locator('[aria-busy="true"]').waitFor({ state: 'detached' });
      await picture(page, 'result');
      expect(await checkScreen(page, 'result', 'light-1280')).toEqual([]);
      await page.getByRole('heading', { name: 'The same prompt, continued by both' }).waitFor();
      await page.getByRole('heading', { name: 'Benchmark' }).waitFor();
      await page.getByRole('columnheader', { name: 'dbell-stories-7m (full precision)' }).waitFor();
      await page.getByRole('region', { name: 'Verification' }).getByText('Verified').waitFor();
      expect(studio.faults()).toEqual([]);

      await page.getByRole('link', { name: 'Try it' }).click();
      await page.getByLabel('Prompt').fill('One day, a little fox');
      await page.getByRole('button', { name: 'Write' }).click();
      const texts = page.getByRole('log');
      await expect.poll(() => texts.count()).toBe(2);
      for (const side of [0, 1]) {
        await texts
          .nth(side)
          .getByText(/tok\/s/)
          .waitFor({ timeout: workTimeoutMs });
        expect((await texts.nth(side).textContent())?.length).toBeGreaterThan(60);
      }
      // The texts are the engine's: a reload shows them again.
      const written = await texts.first().locator('p').first().textContent();
      await page.reload();
      await expect.poll(() => texts.first().locator('p').first().textContent()).toBe(written);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );

  test(
    'two runs are compared, deleted and brought back',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.chooseSample();
      await wizard.chooseRecipe('rtn-4');
      await wizard.next();
      await page.getByRole('button', { name: 'Start' }).waitFor();
      await page.getByRole('switch', { name: 'Judge the quality' }).click();
      await page.getByRole('switch', { name: 'Benchmark it' }).click();
      await wizard.run();
      await wizard.waitForResult();

      const runs = new RunsPage(page);
      await runs.open();
      await expect.poll(() => runs.rows().count()).toBeGreaterThanOrEqual(2);
      await runs.rows().nth(0).getByRole('checkbox').check();
      await runs.rows().nth(1).getByRole('checkbox').check();
      await page.getByRole('button', { name: 'Compare' }).click();
      await page.getByText('Numbers that differ').waitFor();
      await page.getByRole('rowheader', { name: 'Stored bits' }).waitFor();
      await picture(page, 'comparison');

      await runs.open();
      await runs.rows().nth(1).waitFor();
      const count = await runs.rows().count();
      // The table is as it was left: both are still chosen.
      await runs.rows().nth(0).getByRole('checkbox').check();
      await runs.rows().nth(1).getByRole('checkbox').uncheck();
      await page.getByRole('button', { name: 'Delete' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
      await expect.poll(() => runs.rows().count()).toBe(count - 1);
      await page.getByRole('button', { name: 'Undo' }).click();
      await expect.poll(() => runs.rows().count()).toBe(count);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );

  test(
    'a model writes its own calibration text; its run waits while the disk is too full, and goes on by itself',
    async () => {
      const page = await studio.open();
      const leaveFree = async (megabytes: string) => {
        await page.goto(`${new URL(page.url()).origin}/#/settings`);
        await page.getByLabel('Leave free on the disk').fill(megabytes);
        await page.keyboard.press('Tab');
      };
      // More than any disk has.
      await leaveFree('1000000000');
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.chooseSample();
      await wizard.chooseRecipe('gptq-4');
      await wizard.next();
      await page.getByRole('radio', { name: 'The model writes it itself' }).check();
      await page.getByText('Written by the model itself').waitFor({ timeout: workTimeoutMs });
      await wizard.keepItShort({ quality: false, benchmark: false });
      await page.getByLabel('Windows', { exact: true }).first().fill('2');
      await page.getByLabel('Window length').fill('32');
      await wizard.run();
      await page.getByText(/^Waits for room: /).waitFor({ timeout: workTimeoutMs });
      await page
        .getByText(/are free where .* is written/)
        .first()
        .waitFor();
      expect(await page.getByRole('button', { name: 'Continue' }).count()).toBe(0);
      const run = page.url();
      await leaveFree('0');
      await page.goto(run);
      await wizard.waitForResult();
      await page
        .getByText(/written by the model itself/i)
        .first()
        .waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );

  test(
    'recipes keep their order from the first that is shown, whatever is learned or chosen afterwards',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.chooseSample();
      await page.reload();
      await wizard.watchRecipes();
      await wizard.chooseRecipe('gptq-2');
      await page.getByRole('row', { name: /^gptq-2 2\.25/ }).waitFor();
      await page.getByRole('radio', { name: '4 bits' }).click();
      // The sizes are others, the order is not.
      await expect
        .poll(() => page.getByRole('row', { name: /^gptq-2 / }).textContent(), { timeout: workTimeoutMs })
        .not.toContain('3.90');
      const orders = await wizard.watchedRecipes();
      expect(orders).toHaveLength(1);
      expect(orders[0]?.split(' ').length).toBeGreaterThan(10);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'the wizard is gone through by keyboard alone',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await page.reload();
      const press = (key: string) => page.keyboard.press(key);
      /** Tab until the focus is on what has this name. */
      const tabTo = async (name: RegExp) => {
        for (let step = 0; step < 60; step++) {
          await press('Tab');
          const focused = await page.evaluate(() => {
            const element = document.activeElement as HTMLElement | null;
            const labels = (element as HTMLInputElement | null)?.labels;
            return [element?.getAttribute('aria-label'), labels?.[0]?.textContent, element?.textContent].join(
              ' ',
            );
          });
          if (name.test(focused)) return;
        }
        throw new Error(`no focus on ${name}`);
      };
      await page
        .getByRole('button', { name: /dbell-stories-7m/ })
        .first()
        .waitFor();
      await tabTo(/dbell-stories-7m/);
      await press('Enter');
      await page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
      await tabTo(/^\s*Continue/);
      await press('Enter');
      await page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs });
      await tabTo(/Smallest|Fits/);
      await press('ArrowDown');
      await tabTo(/^\s*Continue/);
      await expect
        .poll(() => page.getByRole('button', { name: 'Continue' }).isEnabled(), { timeout: workTimeoutMs })
        .toBe(true);
      await press('Enter');
      await page.getByText('Window 1').waitFor({ timeout: workTimeoutMs });
      // A short run: fewer windows, and nothing measured after it.
      await tabTo(/^ ?Windows/);
      await page.keyboard.type('8');
      await tabTo(/Window length/);
      await page.keyboard.type('128');
      await tabTo(/Judge the quality/);
      await press('Space');
      await tabTo(/Benchmark it/);
      await press('Space');
      await expect
        .poll(() => page.getByRole('button', { name: 'Start' }).isEnabled(), { timeout: workTimeoutMs })
        .toBe(true);
      await tabTo(/^\s*Start/);
      await press('Enter');
      await wizard.waitForResult();
      await press('Control+k');
      await page.getByRole('dialog', { name: 'Commands' }).waitFor();
      await page.keyboard.type('settings');
      await press('Enter');
      await page.getByRole('heading', { name: 'Settings', level: 1 }).waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );
});
