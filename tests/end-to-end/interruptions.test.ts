import { cpSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from '@playwright/test';
import { describe, expect, test } from 'vitest';
import { bundled } from '../assets.ts';
import { editTensors } from '../engine/model-fixtures.ts';
import { browserPath } from './browser.ts';
import { RunsPage, Wizard, workTimeoutMs } from './pages.ts';
import { checkScreen } from './screen-check.ts';
import { windowsForTests } from './windows.ts';

/** Processes that work for a service: its children in the system's own list. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const child = Number(entry);
    if (!Number.isInteger(child)) return [];
    try {
      const fields = readFileSync(`/proc/${entry}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
      return Number(fields[1]) === pid ? [child] : [];
    } catch {
      return [];
    }
  });
}

/** Kills a process, which may have ended by itself in this moment. */
function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

describe.skipIf(browserPath === null || process.platform !== 'linux')('an interrupted run', () => {
  const studio = windowsForTests();

  /** A run that takes long enough to be interrupted, begun in this window. */
  async function begin(page: Page, model?: string): Promise<Wizard> {
    const wizard = new Wizard(page);
    await wizard.start();
    if (model === undefined) await wizard.chooseSample();
    else {
      await wizard.openModel(model);
      await page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
      await wizard.next();
    }
    await wizard.chooseRecipe('dbellquant');
    await wizard.next();
    await page.getByText('Window 1').waitFor({ timeout: workTimeoutMs });
    await wizard.keepItShort({ quality: false, benchmark: false });
    await wizard.run();
    await wizard.waitForLayers(8);
    return wizard;
  }

  const progress = (page: Page) => page.getByRole('region', { name: 'Progress of the run' });

  test(
    'is paused, stopped, resumed, survives a killed work process and a killed engine, and is one run in the history',
    async () => {
      const page = await studio.open();
      const wizard = await begin(page);

      await page.getByRole('button', { name: 'Pause', exact: true }).click();
      await page.getByText('Paused. Nothing is lost').waitFor({ timeout: workTimeoutMs });
      // Another window sees it as it is.
      const second = await studio.open();
      await second.goto(page.url());
      await second.getByText('Paused. Nothing is lost').waitFor({ timeout: workTimeoutMs });
      await second.getByRole('button', { name: 'Continue', exact: true }).click();
      await page.getByRole('button', { name: 'Pause', exact: true }).waitFor({ timeout: workTimeoutMs });
      await second.close();

      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByText(/^You stopped it/).waitFor({ timeout: workTimeoutMs });
      await progress(page).getByRole('heading', { name: 'Stopped', exact: true }).waitFor();
      expect(await progress(page).getByRole('alert').count()).toBe(0);
      expect(await checkScreen(page, 'stopped-run', 'light-1280')).toEqual([]);
      await page.getByRole('button', { name: 'Resume' }).click({ timeout: workTimeoutMs });

      // Its work process dies: said with what to do, and nothing but the block in work is lost.
      await page.getByRole('progressbar', { name: 'Progress of the run' }).waitFor();
      await page.getByRole('button', { name: 'Pause', exact: true }).waitFor({ timeout: workTimeoutMs });
      await expect
        .poll(() => childrenOf(studio.servicePid()!).length, { timeout: workTimeoutMs })
        .toBeGreaterThan(0);
      for (const child of childrenOf(studio.servicePid()!)) end(child);
      await progress(page)
        .getByRole('alert')
        .getByText(/the work process \d+ ended by signal SIGKILL/)
        .waitFor({ timeout: workTimeoutMs });
      await page.getByRole('button', { name: 'Resume' }).click();
      await page.getByRole('button', { name: 'Pause', exact: true }).waitFor({ timeout: workTimeoutMs });

      // The engine itself dies: it is started again, takes the run up, and this window follows.
      process.kill(studio.servicePid()!, 'SIGKILL');
      await page.getByText('The engine does not answer').waitFor({ timeout: workTimeoutMs });
      await page
        .getByText('The engine does not answer')
        .waitFor({ state: 'detached', timeout: workTimeoutMs });
      await wizard.waitForResult();

      const runs = new RunsPage(page);
      await runs.open();
      await expect.poll(() => runs.rows().count()).toBe(1);
      expect(studio.faults().filter((fault) => !fault.includes('ERR_CONNECTION_REFUSED'))).toEqual([]);
      await page.close();
    },
    2 * workTimeoutMs,
  );

  test(
    'whose model became another one is not resumed: the run says so, with a way back',
    async () => {
      const page = await studio.open();
      const model = path.join(studio.home, 'models', 'changing');
      cpSync(bundled.model, model, { recursive: true });
      await begin(page, model);
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByRole('button', { name: 'Resume' }).waitFor({ timeout: workTimeoutMs });
      editTensors(model, (tensors) => {
        const [name, tensor] = [...tensors].at(-1)!;
        const bytes = Buffer.from(tensor.bytes);
        bytes[0]! ^= 1;
        tensors.set(name, { ...tensor, bytes });
      });
      await page.getByRole('button', { name: 'Resume' }).click();
      await progress(page)
        .getByRole('alert')
        .getByText(/checkpoint|another model|changed/i)
        .first()
        .waitFor({ timeout: workTimeoutMs });
      await page.getByRole('button', { name: 'Change something' }).click();
      expect(await page.getByLabel('Windows', { exact: true }).first().inputValue()).toBe('8');
      expect(studio.faults().filter((fault) => !fault.includes('ERR_CONNECTION_REFUSED'))).toEqual([]);
      await page.close();
    },
    workTimeoutMs,
  );
});
