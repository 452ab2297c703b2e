import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { RunsPage, workTimeoutMs } from './pages.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

/** What a table of thousands of runs may cost. */
const tableLimits = { runs: 5000, rowElements: 80, taskMs: 100 };

/** Ways through the whole table of which the best counts: what else the computer does is not the page's fault. */
const passes = 3;

interface Pass {
  frames: number;
  /** Most rows in the page at one time. */
  mostRows: number;
  /** The last row that was reached, counted from 1, the header included. */
  lastRow: number;
  longestTaskMs: number;
}

describe.skipIf(browserPath === null)('a table of 5,000 runs', () => {
  const studio = windowsForTests(async (opened) => {
    const start = Date.UTC(2026, 0, 1);
    fillHistory(
      opened.home,
      Array.from({ length: tableLimits.runs }, (_, index) =>
        runOf({
          runId: `run-${index}`,
          createdAt: new Date(start + index * 60_000).toISOString(),
          modelName: `model-${index}`,
          tags: index % 3 === 0 ? ['nightly', 'laptop'] : [],
          note: index % 5 === 0 ? 'looked at' : '',
          metrics: { storedBitsPerWeight: 4.25, perplexity: 9 + index / 1000, perplexityRatio: 1.02 },
        }),
      ),
    );
  });

  test(
    'keeps at most 80 rows in the page, and no task takes 100 ms while it is scrolled through',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await page.getByText('5,000 runs', { exact: true }).waitFor({ timeout: workTimeoutMs });
      // As text: the tests are checked without the types of a page.
      const scrollThrough = `(async () => {
        const table = document.querySelector('[role=table][aria-label=Runs]');
        table.scrollTop = 0;
        const tasks = [];
        const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
        observer.observe({ type: 'longtask' });
        const rows = () => [...table.querySelectorAll('[role=row][aria-rowindex]')];
        const pass = { frames: 0, mostRows: 0, lastRow: 0, longestTaskMs: 0 };
        while (pass.lastRow < ${tableLimits.runs + 1}) {
          table.scrollTop += 600;
          await new Promise((resolve) => requestAnimationFrame(resolve));
          const shown = rows();
          pass.frames++;
          pass.mostRows = Math.max(pass.mostRows, shown.length);
          pass.lastRow = Math.max(pass.lastRow, Number(shown.at(-1)?.getAttribute('aria-rowindex') ?? 0));
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
        observer.disconnect();
        pass.longestTaskMs = Math.max(0, ...tasks);
        return pass;
      })()`;
      const done: Pass[] = [];
      for (let pass = 0; pass < passes; pass++) done.push((await page.evaluate(scrollThrough)) as Pass);
      console.log(`scrolled through ${tableLimits.runs} runs: ${JSON.stringify(done)}`);
      for (const { mostRows, lastRow, frames } of done) {
        expect(frames).toBeGreaterThan(100);
        expect(lastRow).toBe(tableLimits.runs + 1);
        expect(mostRows).toBeLessThanOrEqual(tableLimits.rowElements);
      }
      expect(Math.min(...done.map(({ longestTaskMs }) => longestTaskMs))).toBeLessThan(tableLimits.taskMs);
      await runs.row('model-0').getByText('9.00').waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'is searched and sorted as a whole',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await page.getByRole('searchbox').fill('model-4711');
      await expect.poll(() => runs.rows().count(), { timeout: workTimeoutMs }).toBe(1);
      await page.getByRole('searchbox').fill('');
      await page.getByText('5,000 runs', { exact: true }).waitFor({ timeout: workTimeoutMs });
      await runs.sortBy('Model');
      await expect
        .poll(() => runs.column('Model', 1), { timeout: workTimeoutMs })
        .toEqual([expect.stringMatching(/^model-0(?!\d)/)]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'does not hand the focus on to another run when the one that has it is scrolled away',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      // Which element shows a row depends on how far the table was scrolled: every way it can come out.
      for (let row = 80; row < 80 + tableLimits.rowElements; row++) {
        const first = runs.row('model-4999');
        await first.focus();
        await page.evaluate(
          `document.querySelector('[role=table]').scrollTop = ${row} * document.activeElement.offsetHeight`,
        );
        await runs.row(`model-${4999 - row}`).waitFor();
        expect(await page.evaluate(`document.activeElement.getAttribute('role')`), `at row ${row}`).not.toBe(
          'row',
        );
        await page.evaluate(`document.querySelector('[role=table]').scrollTop = 0`);
        await first.waitFor();
      }
      await page.close();
    },
    workTimeoutMs,
  );
});
