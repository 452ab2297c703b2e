import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { quantizedRun } from './judged-later.ts';
import { PlaygroundPage, RunsPage, workTimeoutMs } from './pages.ts';
import { fillHistory } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

/** The smallest window that the studio is made for. */
const smallest = { width: 900, height: 600 };

describe.skipIf(browserPath === null)('what is needed is in sight:', () => {
  const studio = windowsForTests(async (opened) => {
    fillHistory(opened.home, [quantizedRun('gptq-4', 4.25)]);
  });

  test(
    'why an export came to nothing, wherever one is by then',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await runs.row('gptq-4').click();
      await page.getByRole('button', { name: 'More' }).click();
      await page.getByRole('menuitem', { name: 'Export the package as GGUF…' }).click();
      // A whole path in the place of a name is one.
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('Name').fill(path.join(studio.home, 'given.gguf'));
      await dialog.getByText(path.join(studio.home, 'given.gguf'), { exact: true }).waitFor();
      await dialog.getByRole('button', { name: 'Choose' }).click();
      await new PlaygroundPage(page).open();
      // The history knows a package that is not there any more.
      const notices = page.getByRole('region', { name: 'Messages' });
      await notices.getByText(/^given\.gguf was not written: .*\/packages\/gptq-4/).waitFor();
      expect(await notices.getByText(/being written/).count()).toBe(0);
      // Nor does it hide the button that leads on.
      await page.setViewportSize(smallest);
      await page.goto(`${studio.origin}/#/new/model`);
      const next = page.getByRole('button', { name: 'Continue' });
      await next.waitFor();
      const [message, button] = [(await notices.boundingBox())!, (await next.boundingBox())!];
      expect(message.y + message.height).toBeLessThanOrEqual(button.y);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'the model in a folder that holds one as a single file',
    async () => {
      const folder = path.join(studio.home, 'downloads');
      mkdirSync(folder, { recursive: true });
      const file = path.join(folder, 'small.Q4_1.gguf');
      writeFileSync(file, 'not a model, but named as one');
      const page = await studio.open();
      const field = page.getByLabel('Model folder or .gguf file');
      await field.fill(folder);
      await page.getByRole('button', { name: 'Look at it' }).click();
      await page.getByRole('button', { name: 'Take small.Q4_1.gguf' }).click();
      await expect.poll(() => field.inputValue()).toBe(realpathSync(file));
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'two texts of the playground, which begin on one line',
    async () => {
      const page = await studio.open();
      await page.setViewportSize(smallest);
      await new PlaygroundPage(page).open();
      await page.getByRole('combobox', { name: 'Beside it' }).click();
      await page
        .getByRole('option', { name: /dbell-stories-7m/ })
        .first()
        .click();
      const texts = page.getByRole('log');
      await expect.poll(() => texts.count()).toBe(2);
      const [left, right] = await Promise.all([0, 1].map((side) => texts.nth(side).boundingBox()));
      expect(left!.y).toBe(right!.y);
      expect(left!.height).toBe(right!.height);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'the button that starts a benchmark, and what it waits for',
    async () => {
      const page = await studio.open();
      await page.setViewportSize(smallest);
      await page.goto(`${studio.origin}/#/benchmark`);
      const start = page.getByRole('button', { name: 'Start' });
      await start.waitFor();
      const { y, height } = (await start.boundingBox())!;
      expect(y + height).toBeLessThan(smallest.height);
      expect(await start.isDisabled()).toBe(true);
      await page.getByText('Choose a package or a model first.').waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
