import type { Page } from '@playwright/test';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { softwareAdapterEnvironment } from '../../scripts/acceptance/software-adapter.ts';
import { bundled } from '../assets.ts';
import { browserPath } from './browser.ts';
import { workTimeoutMs } from './pages.ts';
import { seriousViolations } from './screen-check.ts';
import { openWindows, type Windows } from './windows.ts';

/** What the studio's screens say of what can run a package. The service inherits where Vulkan's loader looks for drivers. */

const open = async (studio: Windows, place: string): Promise<Page> => {
  const page = await studio.open();
  await page.evaluate((hash) => {
    location.hash = hash;
  }, `#/${place}`);
  return page;
};

const variables = ['VK_ICD_FILENAMES', 'LD_LIBRARY_PATH'] as const;
const before = Object.fromEntries(variables.map((name) => [name, process.env[name]]));
const restore = () => {
  for (const name of variables)
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
};

describe.skipIf(browserPath === null).each([
  ['without a driver', { VK_ICD_FILENAMES: '/nowhere/driver.json' }],
  ['with an adapter that computes on the processor', softwareAdapterEnvironment],
])('%s', (_name, environment) => {
  let studio: Windows;
  beforeAll(async () => {
    Object.assign(process.env, environment);
    studio = await openWindows();
  }, workTimeoutMs);
  afterAll(async () => {
    await studio?.close();
    restore();
  });
  const isThere = 'LD_LIBRARY_PATH' in environment;

  test.each(['benchmark', 'playground'])(
    'the %s lists the adapters by name, or says why there is none',
    async (place) => {
      const page = await open(studio, place);
      const choice = page.getByLabel('Runs on');
      await choice.waitFor();
      const says = isThere
        ? 'No GPU found: the adapters listed compute on the processor.'
        : 'No GPU found; everything runs on the processor.';
      await page.getByText(says).first().waitFor({ timeout: workTimeoutMs });
      if (!isThere) {
        // The reason is long; it is there for who asks.
        expect(await page.getByText(/driver\.json/).isVisible()).toBe(false);
        await page.getByText(says).click();
        await page.getByText(/^No GPU found: .*\/nowhere\/driver\.json/).waitFor();
      }
      const caches = page.getByLabel('Cache of keys and values');
      expect(await caches.count()).toBe(place === 'benchmark' ? 1 : 0);
      if (place === 'benchmark') {
        await caches.click();
        await page.getByRole('option', { name: 'int8' }).click();
      }
      await choice.click();
      const names = await page.getByRole('option').allTextContents();
      expect(names[0]).toContain('Processor');
      if (isThere) {
        expect(names[1]).toMatch(/SwiftShader.*\(software adapter\)/);
        await page.getByRole('option').nth(1).click();
        await page.getByText('A software adapter computes on the processor').waitFor();
        // A GPU has no cache of int8: another one takes its place.
        if (place === 'benchmark') {
          await expect.poll(() => caches.textContent()).toContain('float32');
          await caches.click();
          const offered = await page.getByRole('option').allTextContents();
          expect(offered.map((name) => name.trim())).toEqual(['float32', 'float16']);
          await page.keyboard.press('Escape');
        }
      } else {
        expect(names).toHaveLength(1);
        await page.keyboard.press('Escape');
      }
      if (!isThere && place === 'benchmark') {
        await page.goto(`${studio.origin}/#/benchmark?model=${encodeURIComponent(bundled.model)}`);
        await caches.click();
        await page.getByRole('option', { name: 'int8' }).click();
        await page.getByRole('button', { name: 'Start' }).click();
        await page.getByText(/is a model in full precision, whose keys and values are float32/).waitFor();
      }
      expect((await seriousViolations(page)).map(({ id }) => id)).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
