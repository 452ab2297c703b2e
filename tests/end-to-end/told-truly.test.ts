import os from 'node:os';
import { describe, expect, test } from 'vitest';
import { browserPath } from './browser.ts';
import { CalibrationPage } from './calibration-page.ts';
import { RunsPage, Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen, screenVariants } from './screen-check.ts';
import { fillHistory, runOf } from './seeded-history.ts';
import { windowsForTests } from './windows.ts';

const timed = (recipe: string, decodeTokensPerSecond: number, benchmarkStable: number) =>
  runOf({
    runId: `run-${recipe}`,
    modelName: 'dbell-stories-7m',
    recipe,
    metrics: { storedBitsPerWeight: 4, decodeTokensPerSecond, benchmarkStable },
  });

/** Figures of one subject of a benchmark, as the engine writes them. */
const subject = (speed: number, stable: boolean, recipe: string | null) => ({
  ...{ model: '/models/dbell-stories-7m', recipe, device: 'cpu', kernelPath: 'avx2', activationBits: 8 },
  prefillTokensPerSecond: { 128: 12 * speed, 512: 9 * speed },
  decodeTokensPerSecond: { 0: speed, 256: 0.8 * speed },
  ...{ timeToFirstTokenMs: 12, tokenLatencyMs: { p50: 2, p95: 3, p99: 9 }, loadMs: 30 },
  ...{ peakRssBytes: 9e7, modelBytes: 7e6, memoryBytes: { weights: 7e6, kvCache: 1e6 } },
  ...{ stable, stabilityNotes: stable ? [] : ['decode at 0: repetitions differ by 31%'] },
  conditions: {
    prefillRepetitionsTokensPerSecond: {
      128: [10 * speed, 12 * speed, 13 * speed],
      512: [8 * speed, 9 * speed, 10 * speed],
    },
    decodeRepetitionsTokensPerSecond: {
      0: [0.7 * speed, speed, 1.3 * speed],
      256: [0.75 * speed, 0.8 * speed, 0.9 * speed],
    },
  },
});

/** What is shown belongs to what is chosen, covers what it says, and is marked where it cannot be relied on. */
describe.skipIf(browserPath === null)('what is told', () => {
  const studio = windowsForTests((opened) => {
    const { metrics, ...run } = timed('rtn-4', 900, 0);
    const benchmark = {
      ...subject(900, false, 'rtn-4'),
      baseline: subject(310, true, null),
      runId: run.runId,
    };
    fillHistory(opened.home, [timed('gptq-4', 300, 1), { ...run, metrics, results: { benchmark } }]);
  });

  test.each(screenVariants)(
    'an unstable benchmark is marked in its report: $theme, $width × $height',
    async ({ theme, width, height }) => {
      const page = await studio.open({ theme, width, height });
      await page.goto(`${studio.origin}/#/runs/run-rtn-4`);
      const charts = page.getByRole('heading', { name: 'Decode', exact: true });
      await charts.waitFor({ timeout: workTimeoutMs });
      await page.getByText(/^≈900\stok\/s$/).waitFor();
      await page.getByText(/^≈2\.90× the baseline$/).waitFor();
      await page.getByRole('columnheader', { name: 'dbell-stories-7m (full precision)' }).waitFor();
      await page.getByText(/^Decode: writing, one token after the other\./).waitFor();
      await charts.scrollIntoViewIfNeeded();
      await charts.evaluate((heading) => heading.scrollIntoView({ block: 'start' }));
      // Only what is beside the places and above the strip has moved.
      expect(await page.evaluate(() => document.documentElement.scrollTop + document.body.scrollTop)).toBe(0);
      expect(await checkScreen(page, 'benchmark-report', `${theme}-${width}`)).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'an unstable speed is marked wherever it stands, and is not called the fastest while there is a stable one',
    async () => {
      const page = await studio.open();
      const runs = new RunsPage(page);
      await runs.open();
      await expect.poll(() => runs.column('Decode', 2)).toHaveLength(2);
      const speeds = (await runs.column('Decode', 2)).sort();
      expect(speeds[0]).toMatch(/^300\stok\/s$/);
      expect(speeds[1]).toMatch(/^≈900\stok\/s \(unstable\)$/);
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.chooseSample();
      const fastest = page.locator('label', { hasText: 'Fastest on this machine' });
      await expect.poll(() => fastest.textContent(), { timeout: workTimeoutMs }).toContain('gptq-4');
      expect(await fastest.textContent()).not.toContain('unstable');
      // Nothing else known: it is said.
      await runs.open();
      await page.getByRole('checkbox', { name: /gptq-4/ }).check();
      await page.getByRole('button', { name: 'Delete' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
      await expect.poll(() => runs.rows().count()).toBe(1);
      await page.goto(`${studio.origin}/#/new/goal`);
      await expect.poll(() => fastest.textContent(), { timeout: workTimeoutMs }).toContain('rtn-4');
      expect(await fastest.textContent()).toContain('≈ measured unstable');
      // The estimate is dimmed until it is of what is chosen.
      await page.getByText('Weight file of the package').waitFor({ timeout: workTimeoutMs });
      await expect
        .poll(() => page.locator('aside [aria-busy=true]').count(), { timeout: workTimeoutMs })
        .toBe(0);
      expect(await checkScreen(page, 'goal-fastest', 'light-1280')).toEqual([]);
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'a person’s own folder may be written as ~',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.openModel('~/no-such-model-of-dbell');
      await new CalibrationPage(page)
        .aside()
        .getByRole('alert')
        .getByText(`${os.homedir()}/no-such-model-of-dbell`)
        .waitFor({ timeout: workTimeoutMs });
      await page.close();
    },
    workTimeoutMs,
  );

  test(
    'the time of a run is one span everywhere and says which task it is of; after the result a new run begins anew',
    async () => {
      const page = await studio.open();
      const wizard = new Wizard(page);
      await wizard.start();
      await wizard.chooseSample();
      await wizard.chooseRecipe('dbellquant');
      await wizard.next();
      const calibration = new CalibrationPage(page);
      await wizard.keepItShort({ quality: true, benchmark: false });
      await expect.poll(() => calibration.start().isEnabled(), { timeout: workTimeoutMs }).toBe(true);
      const summary = page.locator('main footer');
      await expect
        .poll(() => summary.textContent())
        .toMatch(/quantizing: (<\s)?[\d.–]+\s(s|min); then verify and judge quality/);
      await wizard.run();
      const said = () =>
        page.evaluate(() => {
          const eta = document.querySelector('footer .eta')?.textContent?.trim() ?? '';
          const figure = [...document.querySelectorAll('.figures .figure')].find((each) =>
            each.textContent?.includes('Left of'),
          );
          const texts = [...(figure?.children ?? [])].map((each) => each.textContent?.trim() ?? '');
          return { eta, label: texts[0] ?? '', value: texts[1] ?? '', detail: texts[2] ?? '' };
        });
      // Asked for in one moment, so that both are of the same progress.
      await expect
        .poll(said, { timeout: workTimeoutMs, interval: 50 })
        .toMatchObject({ label: 'Left of “quantize”', value: expect.stringMatching(/\d+\s(s|min)$/) });
      const { eta, value, detail } = await said();
      expect(eta).toBe(`${value} left, then 2 more tasks`);
      expect(detail).toBe('then verify and judge quality');
      expect(await checkScreen(page, 'run', 'light-1280')).toEqual([]);
      await page.setViewportSize({ width: 900, height: 600 });
      // A short task may be over before it is looked at: labels of the others are put in for a moment.
      const tooNarrow = await page.evaluate(() => {
        const figures = [...document.querySelectorAll('main .figures .figure')];
        return ['judge quality', 'perplexity', 'benchmark', 'download'].flatMap((task) =>
          figures.flatMap((figure) => {
            const text = figure.querySelector('.label')!.firstChild as Text;
            const before = text.data;
            text.data = before.replace(/“.*”/, `“${task}”`);
            const shown = text.data;
            const cut = figure.scrollWidth > figure.clientWidth;
            text.data = before;
            return cut ? [shown] : [];
          }),
        );
      });
      expect(tooNarrow).toEqual([]);
      expect(await checkScreen(page, 'run', 'light-900')).toEqual([]);
      await page.setViewportSize({ width: 1280, height: 800 });
      await wizard.waitForResult();
      const places = page.getByRole('navigation', { name: 'Places' });
      await places.getByRole('link', { name: 'Runs' }).click();
      await places.getByRole('link', { name: 'New run' }).click();
      await page.getByRole('heading', { name: 'Which model?' }).waitFor();
      await page.getByText('No model chosen').waitFor();
      // What was begun is come back to.
      await wizard.chooseSample();
      await places.getByRole('link', { name: 'Runs' }).click();
      await places.getByRole('link', { name: 'New run' }).click();
      await page.getByRole('heading', { name: 'What do you need?' }).waitFor();
      expect(studio.faults()).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );
});
