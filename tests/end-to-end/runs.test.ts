import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

const kinds = ['quantize', 'quality', 'perplexity', 'benchmark'] as const;

describe.skipIf(browserPath === null)('the table of runs', () => {
  const studio = windowsForTests(async (opened) => {
    fillHistory(
      opened.home,
      Array.from({ length: 60 }, (_, index) =>
        runOf({
          runId: `run-${String(index).padStart(2, '0')}`,
          kind: kinds[index % kinds.length]!,
          createdAt: `2026-03-01T10:${String(index).padStart(2, '0')}:00.000Z`,
          modelName: `model-${String(index).padStart(2, '0')}`,
          recipe: index % 4 === 3 ? null : 'gptq-4',
          metrics: { storedBitsPerWeight: 4.25, perplexity: 9 + index / 100, perplexityRatio: 1.02 },
        }),
      ),
    );
  });

  test(
    'a click on a row and Enter open its report, and the table is found again as it was',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await runs.filterByKind('Perplexity');
      await expect.poll(() => runs.rows().count()).toBe(15);
      await runs.row('model-58').getByText('9.58').click();
      await page.getByRole('heading', { name: /model-58/ }).waitFor();
      expect(page.url()).toContain('#/runs/run-58');

      await page.goBack();
      await expect.poll(() => runs.rows().count()).toBe(15);
      await runs.row('model-54').focus();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: /model-50/ }).waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'the box and Space select without opening',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await runs.row('model-59').getByRole('checkbox').check();
      await runs.row('model-58').focus();
      await page.keyboard.press('Space');
      await page.getByText('2 selected').waitFor();
      expect(page.url()).toMatch(/#\/runs$/);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'what a run did is a column, sorted and filtered by',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await expect
        .poll(() => runs.column('Kind', 4))
        .toEqual(['Benchmark', 'Perplexity', 'Quality', 'Quantization']);
      await runs.sortBy('Kind');
      await expect.poll(() => runs.column('Kind', 2)).toEqual(['Benchmark', 'Benchmark']);
      for (const name of ['Quantization', 'Quality', 'Perplexity', 'Benchmark']) {
        await runs.filterByKind(name);
        await page.getByText('15 runs', { exact: true }).waitFor();
        await expect.poll(async () => new Set(await runs.column('Kind', 15))).toEqual(new Set([name]));
      }
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
