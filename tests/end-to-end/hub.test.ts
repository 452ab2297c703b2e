import path from 'node:path';
import type { Page } from '@playwright/test';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeHub } from '../engine/hub-server.ts';
import { noise, repositoryOf } from '../engine/hub-support.ts';
import { browserPath } from './browser.ts';
import { SettingsPage, Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { openWindows, type Windows } from './windows.ts';

const sample = path.join(import.meta.dirname, '..', '..', 'resources', 'dbell-stories-7m');

describe.skipIf(browserPath === null)('models from the Hub, in a browser', () => {
  let studio: Windows;
  let hub: FakeHub;
  beforeAll(async () => {
    hub = await FakeHub.start();
    hub.repositories.set('lab/stories-7m', {
      ...repositoryOf(sample),
      safetensors: { parameters: { BF16: 7_344_384 }, total: 7_344_384 },
      downloads: 1234,
    });
    hub.repositories.set('lab/tales', repositoryOf(sample));
    hub.repositories.set('lab/stories-mamba', {
      files: {},
      commit: 'a'.repeat(40),
      modelType: 'mamba',
      license: 'mit',
    });
    hub.repositories.set('lab/stories-gated', { ...repositoryOf(sample), gated: 'manual', license: 'other' });
    hub.repositories.set('lab/stories-GGUF', {
      files: {
        'stories-q8_0.gguf': { content: noise(5000), isLarge: true },
        'stories-f16.gguf': { content: noise(9000), isLarge: true },
      },
      commit: 'b'.repeat(40),
      tags: ['gguf'],
      license: 'apache-2.0',
    });
    studio = await openWindows();
  }, workTimeoutMs);
  afterAll(async () => {
    await studio?.close();
    await hub?.stop();
  });

  const allowNetwork = async (page: Page) => {
    const settings = new SettingsPage(page);
    await settings.open();
    await settings.allowNetwork(hub.endpoint);
  };
  const search = async (page: Page, query: string) => {
    await page.getByLabel('Name of a model').fill(query);
    await page.getByRole('button', { name: 'Search', exact: true }).last().click();
  };

  const look = (page: Page, name: RegExp) =>
    page
      .getByRole('list', { name: 'Models found' })
      .getByRole('button', { name })
      .click({ timeout: workTimeoutMs });

  test(
    'switch off, switch on, search, download across a stop and a reload, inspected',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await page.getByText('The network switch is off, so that nothing leaves this machine.').waitFor();
      expect(await page.getByLabel('Name of a model').count()).toBe(0);
      await page.getByRole('link', { name: 'Turn it on in the settings' }).click();
      const settings = new SettingsPage(page);
      await settings.allowNetwork(hub.endpoint);
      expect(hub.requests).toEqual([]);

      await wizard.start();
      await search(page, 'stories');
      const results = page.getByRole('list', { name: 'Models found' });
      await results.getByRole('button').first().waitFor({ timeout: workTimeoutMs });
      expect(await results.getByRole('button').count()).toBe(4);
      expect(await results.getByRole('button', { name: /stories-7m/ }).textContent()).toMatch(
        /apache-2\.0 · 14\.7\sMB/,
      );
      await look(page, /stories-mamba/);
      await page
        .getByText(/"mamba" is not supported|neither model.safetensors/)
        .first()
        .waitFor({ timeout: workTimeoutMs });
      await look(page, /stories-gated/);
      await page.getByText(/is gated: accept its licence/).waitFor({ timeout: workTimeoutMs });
      await look(page, /stories-GGUF/);
      await page.getByRole('button', { name: /^Download/ }).waitFor({ timeout: workTimeoutMs });

      // Slow enough to be stopped in the middle.
      hub.bytesPerSecond = 500_000;
      await look(page, /stories-7m/);
      await page.getByRole('button', { name: /^Download/ }).click({ timeout: workTimeoutMs });
      const progress = page.getByRole('progressbar', { name: 'Download of lab/stories-7m' });
      await progress.waitFor({ timeout: workTimeoutMs });
      await page
        .getByRole('contentinfo', { name: 'Status' })
        .getByText(/of\s15\.\d\sMB/)
        .waitFor({ timeout: workTimeoutMs });
      await checkScreen(page, 'hub-download', 'light-1280');
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByText('Stopped. What was fetched is kept').waitFor({ timeout: workTimeoutMs });

      await page.reload();
      const unfinished = page.getByRole('list', { name: 'Unfinished downloads' });
      await unfinished.getByText('lab/stories-7m').waitFor({ timeout: workTimeoutMs });
      hub.bytesPerSecond = 0;
      hub.requests.length = 0;
      await search(page, 'stories-7m');
      await look(page, /lab\/stories-7m/);
      await page.getByRole('button', { name: 'Go on' }).click({ timeout: workTimeoutMs });

      await page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
      expect(await page.getByLabel('Model folder or .gguf file').inputValue()).toMatch(/lab.stories-7m$/);
      expect(await page.getByRole('button', { name: 'Continue' }).isEnabled()).toBe(true);
      expect(hub.contentRequests('model.safetensors')[0]?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );

  test.each(screenVariants)(
    'its screens are accessible and fit their window: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      const variant = `${theme}-${width}`;
      await allowNetwork(page);
      await new Wizard(page).start();
      await search(page, 'stories');
      await look(page, /lab\/stories-7m/);
      await page.getByText('can be read').waitFor({ timeout: workTimeoutMs });
      const found = await checkScreen(page, 'hub', variant);
      await look(page, /lab\/stories-gated/);
      await page.getByText(/is gated: accept its licence/).waitFor({ timeout: workTimeoutMs });
      found.push(...(await checkScreen(page, 'hub-gated', variant)));
      await page.goto(`${studio.origin}/#/settings`);
      await page.getByLabel('Access token').waitFor();
      found.push(...(await checkScreen(page, 'hub-settings', variant)));
      expect(found).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'an unfinished download is discarded',
    async () => {
      const page = await studio.open();
      await allowNetwork(page);
      await new Wizard(page).start();
      await search(page, 'tales');
      await look(page, /lab\/tales/);
      hub.bytesPerSecond = 20_000;
      await page.getByRole('button', { name: /^Download/ }).click({ timeout: workTimeoutMs });
      await page
        .getByText(/of\s15\.\d\sMB/)
        .first()
        .waitFor({ timeout: workTimeoutMs });
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByText('Stopped. What was fetched is kept').waitFor({ timeout: workTimeoutMs });
      await page.reload();
      await page.getByRole('button', { name: 'Discard' }).click({ timeout: workTimeoutMs });
      await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click();
      await expect.poll(() => page.getByRole('list', { name: 'Unfinished downloads' }).count()).toBe(0);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
