import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Locator, Page } from '@playwright/test';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { quantizeInputSchema } from '../../engine/contract/quantization.ts';
import { lockFolder } from '../../engine/files/folder-lock.ts';
import { openHistory } from '../../engine/history/history.ts';
import { historyFile } from '../../engine/service/home.ts';
import { createRunFile } from '../../engine/service/run-file.ts';
import { copyTinyModel } from '../engine/model-fixtures.ts';
import { browserPath } from './browser.ts';
import { CalibrationPage } from './calibration-page.ts';
import {
  historySituations,
  modelSituations,
  outputSituations,
  type Situation,
  textSituations,
  unreadableWeights,
} from './error-situations.ts';
import { PlaygroundPage, RunsPage, SettingsPage, Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen } from './screen-check.ts';
import { openWindows, type Windows } from './windows.ts';

/** Each error is said where it can be mended, and what was chosen and typed is still there. */

describe.skipIf(browserPath === null)(
  'what cannot be used is said where it is mended, and nothing is lost:',
  () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-situations-'));
    const at = (name: string) => path.join(folder, name.replaceAll(/[^a-z0-9]+/gi, '-'));
    const goodModel = path.join(folder, 'tiny');
    let studio: Windows;
    let page: Page;

    beforeAll(async () => {
      copyTinyModel('llama-plain', goodModel);
      studio = await openWindows();
      page = await studio.open();
    }, workTimeoutMs);
    afterAll(async () => {
      await studio?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    /** Makes the broken input; what a person types for it. */
    const made = async ({ name, make }: Situation) => (await make(at(name))) ?? at(name);

    async function expectSaid(where: Locator, { name, says }: Situation): Promise<void> {
      for (const part of says) {
        await expect
          .poll(async () => (await where.allTextContents()).join(' | '), { timeout: workTimeoutMs })
          .toContain(part.replaceAll('TARGET', at(name)));
      }
    }

    /** To the calibration of a good model. */
    async function toCalibration(model = goodModel): Promise<CalibrationPage> {
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.openModel(model);
      await page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
      await wizard.next();
      await wizard.chooseRecipe('gptq-4');
      await wizard.next();
      await page.getByText('Window 1').waitFor({ timeout: workTimeoutMs });
      await wizard.keepItShort({ quality: false, benchmark: false });
      return new CalibrationPage(page);
    }

    describe('a model', () => {
      beforeAll(() => new Wizard(page).start());

      test.each(modelSituations)('$name', async (situation) => {
        const typed = await made(situation);
        await new Wizard(page).openModel(typed);
        await expectSaid(new CalibrationPage(page).aside().getByRole('alert'), situation);
        expect(await page.getByLabel('Model folder or .gguf file').inputValue()).toBe(typed);
        expect(await page.getByRole('button', { name: 'Continue' }).isDisabled()).toBe(true);
      });

      test('then another one is taken as if nothing had been', async () => {
        await new Wizard(page).openModel(goodModel);
        await page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
        expect(await page.getByRole('alert').count()).toBe(0);
      });
    });

    describe('a goal', () => {
      beforeAll(async () => {
        await new Wizard(page).next();
      }, workTimeoutMs);

      test(
        'a size that no recipe reaches',
        async () => {
          const wizard = new Wizard(page);
          await wizard.start();
          await page
            .getByRole('button', { name: /dbell-stories-7m/ })
            .first()
            .click();
          await wizard.next();
          await wizard.chooseGoal('Fits in a given size');
          await page.getByLabel('Largest weight file').fill('1');
          const field = page.getByLabel('Largest weight file');
          const problem = () => new CalibrationPage(page).problemOf(field);
          const next = page.getByRole('button', { name: 'Continue' });
          await expect
            .poll(problem, { timeout: workTimeoutMs })
            .toMatch(
              /^No recipe makes this model that small with the embedding at 16 bits; the smallest weight file has [\d.]+\sMB\.$/,
            );
          expect(await next.isDisabled()).toBe(true);
          // No way around the button either: there is no recipe that would be taken instead.
          await page.goto(`${studio.origin}/#/new/calibration`);
          await page.getByRole('heading', { name: 'What do you need?' }).waitFor();
          await page.waitForURL(/#\/new\/goal$/);
          await field.fill('0');
          await expect.poll(problem).toBe('0 is too small; give a whole number from 1 to 1,000,000.');
          expect(await next.isDisabled()).toBe(true);
          expect(await field.inputValue()).toBe('0');
          expect(await checkScreen(page, 'goal-refused', 'light-1280')).toEqual([]);
          await field.fill('8');
          await expect.poll(() => next.isEnabled(), { timeout: workTimeoutMs }).toBe(true);
          expect(await problem()).toBe('');
        },
        workTimeoutMs,
      );

      test('a field of the recipe out of its range', async () => {
        const wizard = new Wizard(page);
        await wizard.chooseRecipe('gptq-4');
        await page.getByRole('button', { name: 'All fields of the recipe' }).click();
        const field = page.getByLabel('compensation.damping');
        await field.fill('-5');
        await field.blur();
        const said = new CalibrationPage(page).aside().getByRole('alert');
        await expect
          .poll(() => said.allTextContents(), { timeout: workTimeoutMs })
          .toEqual([expect.stringMatching(/damping.*-5/)]);
        expect(await page.getByRole('button', { name: 'Continue' }).isDisabled()).toBe(true);
        expect(await field.inputValue()).toBe('-5');
      });
    });

    describe('a calibration text', () => {
      let calibration: CalibrationPage;
      beforeAll(async () => {
        calibration = await toCalibration();
        await calibration.chooseOwnText('calibration');
      }, workTimeoutMs);
      afterAll(() => calibration.choose('calibration', 'General English prose'));

      test.each(textSituations)('$name', async (situation) => {
        const typed = await made(situation);
        await calibration.ownText('calibration').fill(typed);
        await expectSaid(calibration.aside().getByRole('alert'), situation);
        expect(await calibration.ownText('calibration').inputValue()).toBe(typed);
        expect(await calibration.start().isDisabled()).toBe(true);
      });
    });

    describe('how much of it', () => {
      test.each([
        { field: 'Windows', typed: '0', says: '0 is too small; give a whole number from 1 to 100,000.' },
        { field: 'Windows', typed: '', says: 'A number from 1 to 100,000 is wanted here.' },
        {
          field: 'Window length',
          typed: '4096',
          says: '4,096 is too large; give a whole number from 2 to 256.',
        },
        {
          field: 'Window length',
          typed: '16.5',
          says: '16.5 is not a whole number; give one from 2 to 256.',
        },
      ])('“$typed” in “$field”', async ({ field, typed, says }) => {
        const calibration = new CalibrationPage(page);
        await expect.poll(() => calibration.start().isEnabled(), { timeout: workTimeoutMs }).toBe(true);
        const control = page.getByLabel(field, { exact: true }).first();
        const before = await control.inputValue();
        await control.fill(typed);
        // Nothing begins with another number than the one in sight.
        expect(await calibration.start().isDisabled()).toBe(true);
        expect(await calibration.problemOf(control)).toBe(says);
        await page.getByText('A value cannot be taken as it is; the reason stands at its field.').waitFor();
        expect(await control.inputValue()).toBe(typed);
        await control.fill(before);
        expect(await calibration.problemOf(control)).toBe('');
        await expect.poll(() => calibration.start().isEnabled(), { timeout: workTimeoutMs }).toBe(true);
      });
    });

    test('a text that is being read: what is shown of another one starts nothing', async () => {
      const calibration = new CalibrationPage(page);
      const long = at('long.txt');
      writeFileSync(long, 'One day, a little fox went to the river and saw a boat.\n'.repeat(40_000));
      await calibration.chooseOwnText('calibration');
      // The text of before is no choice any more, and its tokens are not shown as those of the new one.
      expect(await calibration.start().isDisabled()).toBe(true);
      await page.getByText('Give the path of the calibration text.').waitFor();
      await calibration.ownText('calibration').fill(long);
      expect(await calibration.start().isDisabled()).toBe(true);
      await page.getByText('The calibration text is being read…').waitFor();
      await expect.poll(() => calibration.start().isEnabled(), { timeout: workTimeoutMs }).toBe(true);
      expect(await calibration.aside().textContent()).toContain('long-txt');
      await calibration.choose('calibration', 'General English prose');
      expect(await calibration.start().isDisabled()).toBe(true);
      await expect.poll(() => calibration.start().isEnabled(), { timeout: workTimeoutMs }).toBe(true);
      expect(await calibration.aside().textContent()).toContain('general English prose');
    });

    test('a text to judge on that is not there', async () => {
      const calibration = new CalibrationPage(page);
      await page.getByRole('switch', { name: 'Judge the quality' }).click();
      await calibration.chooseOwnText('quality');
      await calibration.ownText('quality').fill(at('no-such-text.txt'));
      await page.getByRole('alert').getByText(at('no-such-text.txt')).waitFor({ timeout: workTimeoutMs });
      expect(await calibration.start().isDisabled()).toBe(true);
      expect(await checkScreen(page, 'calibration-refused', 'light-1280')).toEqual([]);
      expect(await calibration.ownText('quality').inputValue()).toBe(at('no-such-text.txt'));
      await page.getByRole('switch', { name: 'Judge the quality' }).click();
    });

    describe('an output', () => {
      test.each(outputSituations)('$name', async (situation) => {
        const calibration = new CalibrationPage(page);
        const typed = await made(situation);
        await calibration.output().fill(typed);
        for (const part of situation.says) {
          await expect
            .poll(() => calibration.problemOf(calibration.output()), { timeout: workTimeoutMs })
            .toContain(part.replaceAll('TARGET', at(situation.name)));
        }
        // Before anything was started.
        expect(await calibration.start().isDisabled()).toBe(true);
        await page.getByText('The package cannot be made there; the reason stands at its field.').waitFor();
        expect(await calibration.output().inputValue()).toBe(typed);
        expect(await page.getByLabel('Windows', { exact: true }).first().inputValue()).toBe('8');
      });

      test('inside the model', async () => {
        const calibration = new CalibrationPage(page);
        await calibration.output().fill(path.join(goodModel, 'packed'));
        await expect
          .poll(() => calibration.problemOf(calibration.output()), { timeout: workTimeoutMs })
          .toMatch(/lies inside the model .*, which is never written to; choose another folder/);
      });

      /** An unfinished run of these settings, as its work folder shows it. */
      function beginElsewhere(out: string, recipe: string): void {
        mkdirSync(`${out}.partial`);
        const input = quantizeInputSchema.parse({
          ...{ model: goodModel, recipe, calibration: { bundled: 'general' }, windows: 8, context: 128, out },
        });
        const run = {
          runId: `run-${recipe}`,
          createdAt: new Date().toISOString(),
          attempts: 0,
          peakRssBytes: 0,
        };
        createRunFile(`${out}.partial`, { version: 1, ...run, input });
      }

      test('where an unfinished run has other settings', async () => {
        const calibration = new CalibrationPage(page);
        const out = at('unfinished');
        beginElsewhere(out, 'rtn-4');
        await calibration.output().fill(out);
        await expect
          .poll(() => calibration.problemOf(calibration.output()), { timeout: workTimeoutMs })
          .toContain(
            `${out}.partial holds an unfinished run with another recipe; go on with it by resume, or delete it`,
          );
      });

      test('that another process holds: the run says so, and leads back to what was chosen', async () => {
        const calibration = new CalibrationPage(page);
        const out = at('held');
        beginElsewhere(out, 'gptq-4');
        const lock = await lockFolder(`${out}.partial`);
        await calibration.output().fill(out);
        await calibration.start().click({ timeout: workTimeoutMs });
        await page.waitForURL(/#\/new\/run\//);
        await page
          .getByRole('alert')
          .getByText(
            `${out}.partial is being written by process ${process.pid}; wait for it, stop it, or choose another`,
          )
          .waitFor({ timeout: workTimeoutMs });
        await page.getByRole('button', { name: 'Change something' }).click();
        expect(await calibration.output().inputValue()).toBe(out);
        expect(await page.getByLabel('Windows', { exact: true }).first().inputValue()).toBe('8');
        lock.release();
      });
    });

    test('weights that only reading shows to be broken: the run says which, and leads back', async () => {
      const model = await made(unreadableWeights);
      const calibration = await toCalibration(model);
      await calibration.start().click({ timeout: workTimeoutMs });
      await page.waitForURL(/#\/new\/run\//);
      await expectSaid(
        page.getByRole('region', { name: 'Progress of the run' }).getByRole('alert'),
        unreadableWeights,
      );
      await page.getByRole('button', { name: 'Change something' }).click();
      expect(await page.getByLabel('Window length').inputValue()).toBe('128');
      // It is in the history as what it is.
      const runs = new RunsPage(page);
      await runs.open();
      await runs.rows().first().getByText('Failed').waitFor();
    });

    describe('in the playground', () => {
      beforeAll(async () => {
        await page.goto(`${studio.origin}/#/playground?model=${encodeURIComponent(goodModel)}`);
      }, workTimeoutMs);

      test('a prompt longer than the model’s context', async () => {
        const prompt = 'One day, a little fox. '.repeat(200);
        await page.getByLabel('Prompt').fill(prompt);
        await page.getByLabel('Tokens', { exact: true }).fill('8');
        await page.getByRole('button', { name: 'Write' }).click();
        await page
          .getByRole('log')
          .getByRole('alert')
          .getByText(/the prompt has [\d,]+ tokens, but the context length is 256; shorten the prompt/)
          .waitFor({ timeout: workTimeoutMs });
        expect(await page.getByLabel('Prompt').inputValue()).toBe(prompt);
      });

      test('no tokens at all', async () => {
        await page.getByLabel('Prompt').fill('One');
        await page.getByLabel('Tokens', { exact: true }).fill('0');
        await page.getByRole('alert').getByText('A number from 1 to 262,144 is wanted here.').waitFor();
        await page.getByRole('button', { name: 'Write' }).click();
        expect(
          await page
            .getByLabel('Tokens', { exact: true })
            .evaluate((element) => element === document.activeElement),
        ).toBe(true);
        expect(await page.getByLabel('Prompt').inputValue()).toBe('One');
      });

      test('a model that is gone', async () => {
        const gone = at('gone');
        await page.goto(`${studio.origin}/#/playground?model=${encodeURIComponent(gone)}`);
        await page.getByText('Nothing written yet').waitFor();
        await page.getByLabel('Tokens', { exact: true }).fill('8');
        await page.getByLabel('Prompt').fill('Once');
        await page.getByRole('button', { name: 'Write' }).click();
        await page
          .getByRole('log')
          .getByRole('alert')
          .getByText(`${gone}: there is no such file or folder`)
          .waitFor({ timeout: workTimeoutMs });
        expect(await page.getByLabel('Prompt').inputValue()).toBe('Once');
      });
    });

    describe('in a benchmark', () => {
      beforeAll(async () => {
        await page.goto(`${studio.origin}/#/benchmark?model=${encodeURIComponent(goodModel)}`);
      }, workTimeoutMs);

      test('lengths that are no numbers', async () => {
        const calibration = new CalibrationPage(page);
        const field = page.getByLabel('Prompt lengths');
        await field.fill('128, many');
        await expect.poll(() => calibration.problemOf(field), { timeout: workTimeoutMs }).toMatch(/\d/);
        expect(await page.getByRole('button', { name: 'Start' }).isDisabled()).toBe(true);
      });

      test('lengths beyond the model’s context', async () => {
        await page.getByLabel('Prompt lengths').fill('4096');
        await page.getByRole('button', { name: 'Start' }).click();
        await page
          .getByRole('alert')
          .getByText(/none of the prompt lengths 4096 fits the model's context length 256/)
          .waitFor({ timeout: workTimeoutMs });
        expect(await page.getByLabel('Prompt lengths').inputValue()).toBe('4096');
      });
    });

    describe('in the settings', () => {
      const settings = () => new SettingsPage(page);
      beforeAll(async () => {
        await settings().open();
      }, workTimeoutMs);

      test.each([
        {
          field: 'Threads',
          typed: '2000',
          says: '2,000 is too large; give a whole number from 0 to 1,024. Until it is, 0 counts.',
        },
        {
          field: 'Leave free on the disk',
          typed: '-1',
          says: '-1 is too small; give a whole number from 0 to 1,000,000,000.',
        },
      ])('$typed in “$field”', async ({ field, typed, says }) => {
        const control = page.getByLabel(field, { exact: true });
        await control.fill(typed);
        expect(await new CalibrationPage(page).problemOf(control)).toContain(says);
        expect(await control.inputValue()).toBe(typed);
      });

      test('a folder to look in that is not there', async () => {
        const field = page.getByLabel('Folders to look in', { exact: true });
        await field.fill(at('nowhere'));
        await page.getByRole('button', { name: 'Allow', exact: true }).click();
        await expect
          .poll(() => new CalibrationPage(page).problemOf(field), { timeout: workTimeoutMs })
          .toContain(`${at('nowhere')} is not there, or no folder that can be read`);
        expect(await field.inputValue()).toBe(at('nowhere'));
      });

      test('a server without encryption', async () => {
        await page.getByRole('switch', { name: 'Allow the network' }).click();
        const field = page.getByLabel('Server', { exact: true });
        await field.fill('http://example.com');
        await expect
          .poll(() => new CalibrationPage(page).problemOf(field), { timeout: workTimeoutMs })
          .toMatch(/https/);
        expect(await field.inputValue()).toBe('http://example.com');
      });

      test.each(historySituations)('an import $name', async (situation) => {
        const models = path.join(studio.home, 'models');
        mkdirSync(models, { recursive: true });
        const file = path.join(models, `${path.basename(at(situation.name))}.json`);
        await situation.make(file);
        await settings().importHistory(file);
        const section = page.getByRole('main').locator('section').filter({ hasText: 'Import…' });
        await expectSaid(section.getByRole('alert'), situation);
      });
    });

    test('a server that cannot be reached', async () => {
      // A port that was free a moment ago.
      const gone = createServer().listen(0, '127.0.0.1');
      await once(gone, 'listening');
      const { port } = gone.address() as AddressInfo;
      gone.close();
      await new SettingsPage(page).open();
      await new SettingsPage(page).allowNetwork(`http://127.0.0.1:${port}`);
      await new Wizard(page).start();
      await page.getByLabel('Name of a model').fill('stories');
      await page.getByRole('button', { name: 'Search', exact: true }).last().click();
      await page
        .getByRole('alert')
        .getByText(new RegExp(`127\\.0\\.0\\.1:${port}`))
        .first()
        .waitFor({ timeout: workTimeoutMs });
      expect(await page.getByLabel('Name of a model').inputValue()).toBe('stories');
    });

    test('a place outside of what may be looked at, until it is allowed', async () => {
      await new Wizard(page).start();
      await page.getByLabel('Model folder or .gguf file').fill(goodModel);
      await page.getByRole('button', { name: 'Browse…' }).first().click();
      const dialog = page.getByRole('dialog');
      await dialog
        .getByRole('alert')
        .getByText(
          'is not there, or not below a folder that you allow; allow further folders in the settings',
        )
        .waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      expect(await page.getByLabel('Model folder or .gguf file').inputValue()).toBe(goodModel);

      await new SettingsPage(page).open();
      await page.getByLabel('Folders to look in', { exact: true }).fill(folder);
      await page.getByRole('button', { name: 'Allow', exact: true }).click();
      await page.getByRole('list', { name: 'Folders to look in' }).getByText(folder).waitFor();
      await new Wizard(page).start();
      await page.getByLabel('Model folder or .gguf file').fill(goodModel);
      await page.getByRole('button', { name: 'Browse…' }).first().click();
      await dialog.getByText('config.json', { exact: true }).waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
    });

    test('nothing of this was more than a message', () => {
      expect(studio.faults()).toEqual([]);
    });
  },
);

test.skipIf(browserPath === null)(
  'a history of a newer version is left as it is, said on the table of runs, and work goes on without it',
  async () => {
    const home = mkdtempSync(path.join(os.tmpdir(), 'dbell-newer-history-'));
    const file = historyFile(home);
    mkdirSync(path.dirname(file), { recursive: true });
    openHistory(file).close();
    const database = new Database(file);
    database.pragma('user_version = 99');
    database.close();
    const bytes = readFileSync(file);
    const studio = await openWindows({ home });
    try {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await page
        .getByRole('alert')
        .getByText(/was written by a newer version of DBell Studio \(schema 99.*Update DBell Studio/)
        .waitFor();
      const playground = new PlaygroundPage(page);
      await playground.open();
      await playground.write('One day', 4);
      expect(readFileSync(file).equals(bytes)).toBe(true);
      expect(studio.faults()).toEqual([]);
    } finally {
      await studio.close();
      rmSync(home, { recursive: true, force: true });
    }
  },
  workTimeoutMs,
);
