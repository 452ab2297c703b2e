import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { type Opened, openClient } from '../engine/web-support.ts';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { openWindows, type Windows } from './windows.ts';

/** Jobs behind the one that runs. */
describe.skipIf(browserPath === null)('the queue', () => {
  let folder: string;
  let studio: Windows;
  let client: Opened['client'];
  let running: string;
  const inFolder = (name: string) => path.join(folder, name);

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-queue-page-'));
    studio = await openWindows({ home: inFolder('home') });
    const token = new URL(await studio.createAddress()).hash.slice('#token='.length);
    ({ client } = await openClient(studio, { token }));
    const tiny = path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain');
    const settings = { calibration: { bundled: 'stories' }, windows: 2, context: 32 };
    const first = { ...settings, windows: 512, model: bundled.model, recipe: 'dbellquant' };
    ({ jobId: running } = await client.call('quantize', { ...first, out: inFolder('running') }));
    for (const [recipe, name] of [
      ['rtn-4', 'second'],
      ['gptq-2', 'third \u202edaer'],
    ] as const)
      await client.call('quantize', { ...settings, model: tiny, recipe, out: inFolder(name) });
  }, workTimeoutMs);
  afterAll(async () => {
    await studio?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(screenVariants)(
    'fits its screen: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      await page.getByRole('contentinfo').getByRole('link', { name: '2 waiting' }).click();
      await page.getByText('2 jobs are in the queue, in this order').waitFor();
      expect(await checkScreen(page, 'queue', `${theme}-${width}`)).toEqual([]);
      const queue = page.getByRole('region', { name: 'Queue' });
      await queue.getByRole('link', { name: /^Open/ }).last().click();
      await page.getByText('It begins by itself').waitFor();
      expect(await checkScreen(page, 'waiting-job', `${theme}-${width}`)).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'is seen in its order; a job is opened or stopped there, and the others go on',
    async () => {
      const page = await studio.open();
      await new RunsPage(page).open();
      const jobs = page.getByRole('region', { name: 'Queue' }).getByRole('listitem');
      await expect.poll(() => jobs.count()).toBe(2);
      const texts = await jobs.allTextContents();
      expect(texts[0]).toContain('llama-plain · rtn-4');
      expect(texts[1]).toContain('llama-plain · gptq-2');
      // What turns text around is not shown as it is.
      expect(texts[1]).toContain('third \ufffddaer');

      await jobs.nth(1).getByRole('link', { name: /^Open/ }).click();
      await page.getByRole('main').getByText('gptq-2').first().waitFor();
      // It is no work yet, and looks like none.
      await page
        .getByText('It begins by itself when what is before it is over: the job that runs and 1 that waits.')
        .waitFor();
      expect(await page.getByText(/^Left of/).count()).toBe(0);
      // From a run's page on, another one is begun.
      await page.getByRole('link', { name: 'New run', exact: true }).click();
      await page.getByRole('heading', { name: 'Which model?' }).waitFor();
      await new RunsPage(page).open();
      // What a job is to write belongs to no other one.
      const tiny = path.join(import.meta.dirname, '..', 'fixtures', 'model', 'tiny', 'llama-plain');
      const calibration = { bundled: 'stories' as const };
      await expect(
        client.call('quantize', { model: tiny, recipe: 'rtn-4', calibration, out: inFolder('second') }),
      ).rejects.toMatchObject({
        code: 'output-exists',
        message: expect.stringMatching(/second is what a job makes that waits in the queue/),
      });
      const proposal = { model: tiny, recipe: 'rtn-1' };
      const { path: out } = await client.call('outputs.suggest', proposal);
      const { jobId: last } = await client.call('quantize', { ...proposal, calibration, out });
      expect((await client.call('outputs.suggest', proposal)).path).toBe(`${out}-2`);
      await client.call('jobs.stop', { jobId: last });
      await expect.poll(() => jobs.count()).toBe(2);
      // Stopped on its own page, it says that it had not begun, and shows no work.
      await page.goto(`${studio.origin}/#/new/run/${last}`);
      await page.getByText('You stopped it while it waited: it had not begun.').waitFor();
      expect(await page.getByText('Relative error of each layer').count()).toBe(0);
      await new RunsPage(page).open();
      await jobs.nth(1).getByRole('button', { name: /^Stop/ }).click();
      await expect.poll(() => jobs.count()).toBe(1);
      await client.call('jobs.stop', { jobId: running });
      await expect.poll(() => existsSync(inFolder('second')), { timeout: workTimeoutMs }).toBe(true);
      await expect.poll(() => jobs.count()).toBe(0);
      expect(existsSync(inFolder('third \u202edaer'))).toBe(false);
      expect(studio.faults()).toEqual([]);
    },
    workTimeoutMs,
  );
});
