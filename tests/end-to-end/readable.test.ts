import type { Page } from '@playwright/test';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

/** Test browsers draw no scrollbar; others take this much of what stands beside one. */
const scrollbarWidth = 15;

interface Measured {
  recipe: string | null;
  othersBusyShareBefore: number;
  stabilityNotes: string[];
}

/** Figures and conditions of one subject of a benchmark, with everything that the engine tells of them. */
const subject = ({ recipe, othersBusyShareBefore, stabilityNotes }: Measured) => ({
  ...{ model: '/models/dbell-stories-7m', recipe, device: 'cpu', kernelPath: 'avx2', activationBits: 8 },
  ...{ prefillTokensPerSecond: { 128: 1200 }, decodeTokensPerSecond: { 0: 900 } },
  ...{ timeToFirstTokenMs: 12, tokenLatencyMs: { p50: 2, p95: 3, p99: 9 }, loadMs: 30 },
  ...{ peakRssBytes: 9e7, modelBytes: 7e6, memoryBytes: { weights: 7e6, kvCache: 1e6 } },
  ...{ stable: stabilityNotes.length === 0, stabilityNotes },
  memoryBandwidth: {
    ...{ bytesPerSecond: 17.8e9, bufferBytes: 268e6, passes: 12, threads: 2, lastLevelCacheBytes: 33.6e6 },
    method:
      'sum of a buffer of 64-bit words, each thread its own parts in order, the shortest of twelve passes',
  },
  conditions: {
    machine: {
      ...{ cpuModel: 'AMD EPYC 9754 128-Core Processor', availableCores: 2, isVirtualMachine: true },
      ...{ instructionSets: ['sse4_2', 'avx', 'f16c', 'fma', 'avx2'], memoryBytes: 25.3e9 },
    },
    before: { loadAverage: [1.75, 1, 1], freeMemoryBytes: 12.4e9, powerSource: 'mains' },
    after: { loadAverage: [1.75, 1, 1], freeMemoryBytes: 12.1e9, powerSource: 'mains' },
    ...{ othersBusyShareBefore, stolenShare: 0, threads: 2, repetitions: 5, generateTokens: 64 },
    ...{ omittedPromptTokens: [], omittedDecodeDepths: [] },
  },
});

const benchmark = {
  ...subject({ recipe: 'grid-8', othersBusyShareBefore: 0.528, stabilityNotes: ['the machine was busy'] }),
  baseline: subject({
    ...{ recipe: null, othersBusyShareBefore: 0.317 },
    stabilityNotes: ['the repetitions of decode at depth 0 differ by 88% (limit 10%)'],
  }),
  runId: 'timed',
};
const perplexity = {
  ...{ model: '/models/dbell-stories-7m', recipe: null, perplexity: 8.45, meanLossNats: 2.13 },
  ...{ standardErrorNats: 0.01, tokens: 2032, context: 128, windows: 16, separatorId: null },
  ...{ textName: 'bundled:stories-validation', textSha256: 'd'.repeat(64), activationBits: 16 },
  ...{ kernelPath: 'avx2', device: 'cpu', durationMs: 1000, peakRssBytes: 3e8, runId: 'scored' },
};
const thisYear = new Date().getFullYear();
/** Of this year, where the minute is told, and of the one before. */
const yearOf = (index: number) => thisYear - (index % 2);
/** More than have room, alike in how they begin. */
const named = ['gptq-4', 'grid-8', 'dbellquant'].flatMap((recipe) =>
  Array.from({ length: 10 }, (_, index) =>
    runOf({
      ...{ runId: `${recipe}-${index}`, kind: 'benchmark', recipe },
      ...{
        modelName: `dbell-stories-7m-${recipe}`,
        createdAt: `${yearOf(index)}-11-1${index}T10:00:00.000Z`,
      },
      metrics: { storedBitsPerWeight: 4.25, decodeTokensPerSecond: 2098, benchmarkStable: 0 },
    }),
  ),
);

/** What of opened conditions cannot be read: parts wider than what they stand in, and short values that are broken. */
function unreadable(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    const panels = [...document.querySelectorAll('main, main *')].filter(({ scrollWidth, clientWidth }) => {
      return clientWidth > 0 && scrollWidth > clientWidth;
    });
    for (const panel of panels) {
      const { overflowX, display } = getComputedStyle(panel);
      // A name cut with an ellipsis, and what only who does not see is told.
      if (overflowX === 'hidden' || overflowX === 'clip' || display === 'inline') continue;
      found.push(`${panel.tagName}.${panel.className}: ${panel.scrollWidth} of ${panel.clientWidth}`);
    }
    for (const value of document.querySelectorAll('dl dd')) {
      const range = document.createRange();
      range.selectNodeContents(value);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
      const text = value.textContent ?? '';
      if (lines > 1 + text.length / 20) found.push(`${text}: ${lines} lines`);
    }
    return found;
  });
}

async function openDetails(page: Page): Promise<void> {
  const closed = page.locator('main details:not([open]) > summary');
  while ((await closed.count()) > 0) await closed.first().click();
}

async function showConditions(page: Page): Promise<void> {
  const conditions = page.getByText('Conditions', { exact: true });
  await conditions.evaluate((summary) => summary.scrollIntoView({ block: 'start' }));
}

describe.skipIf(browserPath === null)('what is written can be read:', () => {
  const studio = windowsForTests((opened) => {
    fillHistory(opened.home, [
      runOf({ runId: 'timed', kind: 'benchmark', recipe: 'grid-8', results: { benchmark } }),
      runOf({ runId: 'scored', kind: 'perplexity', recipe: null, results: { perplexity } }),
      ...named,
    ]);
  });

  test.each(screenVariants)(
    'conditions of a benchmark in its report, of the model and of what stands beside it: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width: width - scrollbarWidth, height });
      await page.goto(`${studio.origin}/#/runs/timed`);
      await page.getByText('Conditions', { exact: true }).waitFor({ timeout: workTimeoutMs });
      await openDetails(page);
      await page.getByText('sum of a buffer of 64-bit words').first().waitFor();
      expect(await unreadable(page)).toEqual([]);
      const others = page.locator('div:has(> dt)', { hasText: 'Other programs before' });
      expect(await others.locator('dd').allTextContents()).toEqual(['52.8%', '31.7%']);
      // Of which model each reason is.
      await page.getByText('grid-8: the machine was busy', { exact: true }).waitFor();
      await page
        .getByText(/^dbell-stories-7m \(full precision\): the repetitions of decode at depth 0 differ/)
        .waitFor();
      await showConditions(page);
      expect(await checkScreen(page, 'benchmark-conditions', `${theme}-${width}`)).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'conditions on the page of benchmarks, also of a model beside itself',
    async () => {
      const page = await studio.open();
      await page.goto(`${studio.origin}/#/benchmark`);
      for (const field of ['Package or model', 'Beside it']) {
        await page.getByRole('combobox', { name: field }).click();
        await page
          .getByRole('option', { name: /dbell-stories-7m/ })
          .first()
          .click();
      }
      await page.getByLabel('Prompt lengths').fill('16');
      await page.getByLabel('Depths of decoding').fill('0');
      await page.getByLabel('Decoded').fill('4');
      await page.getByRole('spinbutton', { name: 'Repetitions' }).fill('1');
      await page.getByRole('button', { name: 'Start' }).click();
      await page.getByText('Conditions', { exact: true }).waitFor({ timeout: workTimeoutMs });
      await openDetails(page);
      await page.getByText('Memory bandwidth', { exact: true }).first().waitFor();
      for (const { theme, width, height } of screenVariants) {
        await page.setViewportSize({ width: width - scrollbarWidth, height });
        await page.emulateMedia({ colorScheme: theme });
        expect(await unreadable(page), String(width)).toEqual([]);
        await showConditions(page);
        expect(await checkScreen(page, 'benchmark-page-conditions', `${theme}-${width}`)).toEqual([]);
      }
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'a text by the same name at the big figure as anywhere else',
    async () => {
      const page = await studio.open();
      await page.goto(`${studio.origin}/#/runs/scored`);
      const figure = page.locator('.figure', { hasText: 'Perplexity' });
      await figure.getByText('held-out short stories', { exact: true }).waitFor({ timeout: workTimeoutMs });
      expect(await figure.getAttribute('data-tip')).toContain('held-out short stories');
      await page.close();
    },
    workTimeoutMs,
  );

  test.each(screenVariants)(
    'the table of runs as wide as its window, and the ends of names: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width: width - scrollbarWidth, height });
      const runs = new RunsPage(page);
      await runs.open();
      await runs.row('dbell-stories-7m-grid-8').first().waitFor({ timeout: workTimeoutMs });
      expect(await unreadable(page)).toEqual([]);
      for (const recipe of ['gptq-4', 'grid-8', 'dbellquant']) {
        const row = runs.row(`dbell-stories-7m-${recipe}`).first();
        const link = row.getByRole('link', { name: `dbell-stories-7m-${recipe}`, exact: true });
        const cell = (await link.locator('xpath=..').boundingBox())!;
        const end = (await link.locator('.end').boundingBox())!;
        expect(end.x + end.width).toBeLessThanOrEqual(cell.x + cell.width + 1);
        expect(await link.locator('.end').textContent()).toBe(`dbell-stories-7m-${recipe}`.slice(-9));
      }
      // The last column's text is whole.
      const cut = await page.evaluate(() =>
        [...document.querySelectorAll('main [role=row] > .number')]
          .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
          .map(({ textContent }) => textContent?.trim()),
      );
      expect(cut).toEqual([]);
      expect(await checkScreen(page, 'runs-long-names', `${theme}-${width}`)).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
