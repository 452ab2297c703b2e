import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { openClient } from '../engine/web-support.ts';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { startStudio } from './studio.ts';
import { openWindows, type Windows } from './windows.ts';

/** Jobs that waited when the studio was closed, as the next one shows them. */
describe.skipIf(browserPath === null)('jobs that wait from before', () => {
  let folder: string;
  let studio: Windows;
  const inFolder = (name: string) => path.join(folder, name);

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-waiting-page-'));
    const home = inFolder('home');
    const before = await startStudio({ home });
    const token = new URL(await before.createAddress()).hash.slice('#token='.length);
    const { client } = await openClient(before, { token });
    const tiny = path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain');
    const gone = inFolder('a-model-on-a-disk-that-was-unplugged');
    cpSync(tiny, gone, { recursive: true });
    const settings = { calibration: { bundled: 'stories' }, windows: 2, context: 32 };
    const running = await client.call('quantize', {
      ...{ ...settings, windows: 256, model: bundled.model, recipe: 'dbellquant', out: inFolder('running') },
    });
    await client.call('quantize', { ...settings, model: tiny, recipe: 'rtn-4', out: inFolder('first') });
    await client.call('quantize', { ...settings, model: gone, recipe: 'gptq-2', out: inFolder('second') });
    await client.call('quantize', { ...settings, model: tiny, recipe: 'rtn-8', out: inFolder('third') });
    expect((await client.call('jobs.get', { jobId: running.jobId })).job.state).toBe('running');
    await before.close();
    rmSync(gone, { recursive: true });
    studio = await openWindows({ home });
  }, workTimeoutMs);
  afterAll(async () => {
    await studio?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(screenVariants)(
    'fit their screen: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      await page.getByRole('link', { name: /wait from before$/ }).click();
      await page.getByText(/jobs wait from before/).waitFor();
      expect(await checkScreen(page, 'waiting', `${theme}-${width}`)).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'are started in their order and dismissed, and what is in the way of one stands beside it',
    async () => {
      const page = await studio.open();
      await new RunsPage(page).open();
      const list = page.getByRole('region', { name: 'Waiting from before' });
      const jobs = list.getByRole('listitem');
      await expect.poll(() => jobs.count()).toBeGreaterThanOrEqual(3);
      const second = jobs.filter({ hasText: 'gptq-2' });
      expect(await second.textContent()).toContain('is not there any more');
      await second.getByRole('button', { name: /^Start/ }).click();
      await page
        .getByText(/a-model-on-a-disk-that-was-unplugged is not there any more/)
        .nth(1)
        .waitFor();

      // What is in the way is mended in the wizard; the job itself stays.
      await second.getByRole('button', { name: /^Change/ }).click();
      await page
        .getByRole('main')
        .getByText(/a-model-on-a-disk-that-was-unplugged/)
        .first()
        .waitFor();
      await expect.poll(() => page.getByText('Timing one block').count()).toBe(0);
      expect(await checkScreen(page, 'waiting-change', 'light-1280')).toEqual([]);
      await new RunsPage(page).open();
      expect(await second.count()).toBe(1);

      // By keyboard as well as by pointer.
      await second.getByRole('button', { name: /^Dismiss/ }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      expect(await second.count()).toBe(1);
      await second.getByRole('button', { name: /^Dismiss/ }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Dismiss' }).click();
      await expect.poll(() => second.count()).toBe(0);

      const other = await studio.open();
      await new RunsPage(other).open();
      await jobs
        .filter({ hasText: 'rtn-4' })
        .getByRole('button', { name: /^Start/ })
        .click();
      await jobs
        .filter({ hasText: 'rtn-8' })
        .getByRole('button', { name: /^Start/ })
        .click();
      // Every window sees it.
      for (const window of [page, other])
        await expect
          .poll(() => window.getByText(/rtn-[48]$/).count(), { timeout: workTimeoutMs })
          .toBeGreaterThan(1);
      await expect.poll(() => existsSync(inFolder('third')), { timeout: workTimeoutMs }).toBe(true);
      expect(existsSync(inFolder('first'))).toBe(true);
      expect(existsSync(inFolder('second'))).toBe(false);
      expect(await other.getByRole('listitem').filter({ hasText: 'rtn-' }).count()).toBe(0);
      expect(studio.faults()).toEqual([]);
    },
    workTimeoutMs,
  );

  test(
    'that could not be read are said in every window, however late it opens',
    async () => {
      const home = inFolder('damaged');
      mkdirSync(home);
      writeFileSync(path.join(home, 'queue.sqlite'), 'damaged '.repeat(4096));
      const damaged = await openWindows({ home });
      try {
        for (let count = 0; count < 2; count++) {
          const page = await damaged.open();
          const messages = page.getByRole('region', { name: 'Messages' });
          await messages.getByText(/queue\.sqlite is damaged; it was kept as .*damaged-1/).waitFor();
        }
        expect(damaged.faults()).toEqual([]);
      } finally {
        await damaged.close();
      }
    },
    workTimeoutMs,
  );
});
