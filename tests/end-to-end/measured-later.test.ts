import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { exportText } from '../../engine/history/export.ts';
import { browserPath } from './browser.ts';
import { judgedRun, quantizedRun } from './judged-later.ts';
import { ComparePage, RunsPage, SettingsPage, workTimeoutMs } from './pages.ts';
import { checkScreen } from './screen-check.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

describe.skipIf(browserPath === null)('what was measured later', () => {
  const studio = windowsForTests(async (opened) => {
    fillHistory(opened.home, [
      quantizedRun('gptq-4', 4.25),
      quantizedRun('gptq-3', 3.25),
      judgedRun('gptq-4', { perplexityRatio: 1.02, device: 'Some Adapter' }),
      judgedRun('gptq-3', { perplexityRatio: 1.41, textName: 'other.txt' }),
    ]);
  });

  test(
    'stands in the report of the run that made the package, with its text, and leads there and back',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await runs.filterByKind('Quantization');
      await page.getByText('2 runs', { exact: true }).waitFor();
      await runs.row('gptq-4').click();
      const verdict = page.getByRole('region', { name: 'Verdict' });
      await verdict.getByText('Usable', { exact: true }).waitFor();
      expect(await verdict.textContent()).toMatch(/2,032 tokens of .*windows of 128/);
      expect(await page.getByText('Not judged yet').count()).toBe(0);
      const later = page.getByRole('region', { name: 'Measured later' });
      expect(await later.getByRole('row').nth(1).textContent()).toMatch(
        /Quality.*on Some Adapter.*2,032 in windows of 128.*10\.20.*1\.020×.*81\.0%.*Usable/,
      );
      await verdict.getByRole('link', { name: /Judged later/ }).click();
      await page.waitForURL(/judged-gptq-4/);
      await page.getByRole('link', { name: /stories-7m · gptq-4/ }).click();
      await page.waitForURL(/made-gptq-4/);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'is compared: two sensible metrics, never one on both axes, differing texts marked',
    async () => {
      const page = await studio.open();
      await page.goto(`${studio.origin}/#/runs/compare/made-gptq-4,made-gptq-3`);
      const compare = new ComparePage(page);
      await page.getByRole('heading', { name: 'Perplexity ratio against Stored bits' }).waitFor();
      await page.getByText('the perplexities were measured on different texts').first().waitFor();
      expect(await compare.isMarked('Perplexity ratio')).toBe(true);
      expect(await compare.isMarked('Stored bits')).toBe(false);
      // What is chosen on one axis leaves the other.
      await compare.choose('Horizontal axis', 'Perplexity ratio');
      await page.getByRole('heading', { name: 'Stored bits against Perplexity ratio' }).waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'comes in with an imported history once, and a damaged file changes nothing',
    async () => {
      const page = await studio.open();
      const settings = new SettingsPage(page);
      await settings.open();
      const folder = path.join(studio.home, 'models');
      mkdirSync(folder, { recursive: true });
      const file = path.join(folder, 'exported.json');
      writeFileSync(
        file,
        exportText(
          [quantizedRun('gptq-4', 4.25), runOf({ runId: 'new-run', modelName: 'imported' })],
          'json',
        ),
      );
      await settings.importHistory(file);
      await page.getByText('1 new, 1 known already, 0 refused.').waitFor();
      expect(await checkScreen(page, 'history-imported', 'light-1280')).toEqual([]);
      await settings.importHistory(file);
      await page.getByText('0 new, 2 known already, 0 refused.').waitFor();

      const damaged = path.join(folder, 'damaged.json');
      const whole = exportText([runOf({ runId: 'never', modelName: 'never' })], 'json');
      writeFileSync(damaged, whole.slice(0, whole.length / 2));
      await settings.importHistory(damaged);
      await page
        .getByRole('alert')
        .getByText(/damaged\.json is not an exported history/)
        .waitFor();
      const newer = path.join(folder, 'newer.json');
      writeFileSync(newer, whole.replace('"version": 1', '"version": 2'));
      await settings.importHistory(newer);
      await page
        .getByRole('alert')
        .getByText(/exported by a newer version/)
        .waitFor();

      const runs = new RunsPage(page);
      await runs.open();
      await runs.row('imported').waitFor();
      expect(await runs.row('never').count()).toBe(0);
      expect(await runs.rows().count()).toBe(5);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
