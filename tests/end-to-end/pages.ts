import path from 'node:path';
import type { Locator, Page } from '@playwright/test';

/** How long work of the engine may take on a busy machine. */
export const workTimeoutMs = 240_000;

/** A picture for the README, where those are being made (scripts/studio-pictures.ts). */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.DBELL_PICTURES;
  if (folder) await page.screenshot({ path: path.join(folder, `studio-${name}.png`) });
}

/** The five steps, as a person goes through them. */
export class Wizard {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  async start(): Promise<void> {
    await this.page.goto(`${new URL(this.page.url()).origin}/#/new/model`);
  }

  async chooseSample(): Promise<void> {
    await this.page
      .getByRole('button', { name: /dbell-stories-7m/ })
      .first()
      .click();
    await this.page.getByText('What will be quantized').waitFor({ timeout: workTimeoutMs });
    await this.next();
  }

  async openModel(path: string): Promise<void> {
    await this.page.getByLabel('Model folder or .gguf file').fill(path);
    await this.page.getByRole('button', { name: 'Look at it' }).click();
  }

  async chooseGoal(name: string): Promise<void> {
    await this.page.getByText(name, { exact: true }).click();
  }

  async chooseRecipe(name: string): Promise<void> {
    await this.chooseGoal('I choose');
    await this.page
      .getByRole('row', { name: new RegExp(`^${name} `) })
      .getByRole('radio')
      .check();
  }

  /** Writes down the order of the recipes whenever anything on this page changes. */
  async watchRecipes(): Promise<void> {
    await this.page.evaluate(() => {
      const seen = new Set<string>();
      const look = () => {
        const names = [...document.querySelectorAll('input[name="recipe"]')].map(({ id }) => id);
        if (names.length > 0) seen.add(names.join(' '));
      };
      look();
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
      Object.assign(globalThis, { seenRecipes: seen });
    });
  }

  /** Orders that `watchRecipes` has seen. */
  async watchedRecipes(): Promise<string[]> {
    return this.page.evaluate(() => [...(globalThis as unknown as { seenRecipes: Set<string> }).seenRecipes]);
  }

  async next(): Promise<void> {
    const button = this.page.getByRole('button', { name: 'Continue' });
    await button.click({ timeout: workTimeoutMs });
  }

  /** A calibration that takes seconds. */
  async keepItShort(options: { quality: boolean; benchmark: boolean; original?: boolean }): Promise<void> {
    const { page } = this;
    await page.getByLabel('Windows', { exact: true }).first().fill('8');
    await page.getByLabel('Window length').fill('128');
    await this.toggle('Judge the quality', options.quality);
    if (options.quality) await page.getByLabel('Windows', { exact: true }).nth(1).fill('2');
    await this.toggle('Benchmark it', options.benchmark);
    if (options.benchmark) await this.toggle('And the original beside it', options.original ?? false);
  }

  private async toggle(name: string, on: boolean): Promise<void> {
    const control = this.page.getByRole('switch', { name });
    if ((await control.getAttribute('aria-checked')) !== String(on)) await control.click();
  }

  async run(): Promise<void> {
    const start = this.page.getByRole('button', { name: 'Start' });
    await start.click({ timeout: workTimeoutMs });
    await this.page
      .getByRole('progressbar', { name: 'Progress of the run' })
      .waitFor({ timeout: workTimeoutMs });
  }

  /** How many layers this window knows to be done. */
  async layersDone(): Promise<number> {
    const text = await this.page.getByText(/\d+ layers done/).textContent();
    return Number.parseInt(text ?? '0', 10);
  }

  async waitForLayers(count: number): Promise<void> {
    await this.page.waitForFunction(
      (wanted) => {
        const match = /(\d+) layers done/.exec(document.body.textContent ?? '');
        return (match !== null && Number(match[1]) >= wanted) || location.hash.includes('/result/');
      },
      count,
      { timeout: workTimeoutMs },
    );
  }

  async waitForResult(): Promise<void> {
    await this.page.waitForURL(/#\/new\/result\//, { timeout: workTimeoutMs });
    await this.page.getByText('Where the bytes are').waitFor({ timeout: workTimeoutMs });
  }
}

/** The live picture of a run. */
export class RunPage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  /** What is made, with single blanks. */
  async subject(): Promise<string> {
    const text = await this.page.getByLabel('What is made').textContent();
    return (text ?? '').replace(/\s+/g, ' ').trim();
  }

  /** Names of the tasks; of those that are done with "done:" before. */
  async tasks(): Promise<string[]> {
    const texts = await this.page
      .getByRole('list', { name: 'Tasks' })
      .getByRole('listitem')
      .allTextContents();
    return texts.map((text) => text.replace(/\s+/g, ' ').trim());
  }

  /** Writes down what the tasks are whenever anything on this page changes, until it is loaded anew. */
  async watchTasks(): Promise<void> {
    await this.page.evaluate(() => {
      const seen = new Set<string>();
      const look = () => {
        const items = [...document.querySelectorAll('ol[aria-label="Tasks"] li')];
        const texts = items.map((item) => (item.textContent ?? '').replace(/\s+/g, ' ').trim());
        if (texts.length > 0) seen.add(JSON.stringify(texts));
      };
      look();
      new MutationObserver(look).observe(document.body, {
        subtree: true,
        childList: true,
        characterData: true,
      });
      Object.assign(globalThis, { seenTasks: seen });
    });
  }

  /** What `watchTasks` has seen, each once. */
  async watchedTasks(): Promise<string[][]> {
    const seen = await this.page.evaluate(() => {
      const { seenTasks } = globalThis as unknown as { seenTasks: Set<string> };
      return [...seenTasks];
    });
    return seen.map((texts) => JSON.parse(texts) as string[]);
  }
}

export class RunsPage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  async open(): Promise<void> {
    await this.page.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: 'Runs' }).click();
    await this.page.getByRole('heading', { name: 'Runs', level: 1 }).waitFor();
  }

  rows(): Locator {
    return this.page
      .getByRole('table', { name: 'Runs' })
      .getByRole('row')
      .filter({ has: this.page.getByRole('cell') });
  }

  /** The row of a model. */
  row(modelName: string): Locator {
    return this.rows().filter({ hasText: modelName });
  }

  async filterByKind(name: string): Promise<void> {
    await this.page.getByLabel('Kind', { exact: true }).click();
    await this.page.getByRole('option', { name, exact: true }).click();
  }

  async sortBy(column: string): Promise<void> {
    await this.page.getByRole('columnheader', { name: column }).getByRole('button').click();
  }

  /** Texts of a column's first cells. */
  async column(name: string, count: number): Promise<string[]> {
    const titles = await this.page.getByRole('columnheader').allTextContents();
    const index = titles.findIndex((title) => title.trim() === name);
    const rows = await this.rows().all();
    return Promise.all(
      rows.slice(0, count).map(async (row) => {
        const text = await row.getByRole('cell').nth(index).textContent();
        return text?.trim() ?? '';
      }),
    );
  }
}

export class ComparePage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  async choose(axis: string, metric: string): Promise<void> {
    await this.page.getByLabel(axis, { exact: true }).click();
    await this.page.getByRole('option', { name: metric, exact: true }).click();
  }

  /** Whether a row of the differences is marked as not comparable. */
  async isMarked(field: string): Promise<boolean> {
    const header = this.page.getByRole('rowheader', { name: field }).first();
    return (await header.getByText('not comparable').count()) > 0;
  }
}

export class SettingsPage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  async open(): Promise<void> {
    const places = this.page.getByRole('navigation', { name: 'Places' });
    await places.getByRole('link', { name: 'Settings' }).click();
    await this.page.getByText('Copy diagnostics').waitFor({ timeout: workTimeoutMs });
  }

  /** Turns the network switch on and says which server models come from. */
  async allowNetwork(server: string): Promise<void> {
    const control = this.page.getByRole('switch', { name: 'Allow the network' });
    if ((await control.getAttribute('aria-checked')) !== 'true') await control.click();
    await this.page.getByLabel('Server', { exact: true }).fill(server);
    await this.page.getByLabel('Server', { exact: true }).blur();
  }

  /** Picks a file of the folder for packages in the folder browser. */
  async importHistory(file: string): Promise<void> {
    await this.page.getByRole('button', { name: 'Import…' }).click();
    const dialog = this.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Packages' }).click();
    await dialog.getByText(path.basename(file), { exact: true }).click();
    await dialog.getByRole('button', { name: 'Choose' }).click();
  }
}

export class PlaygroundPage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  async open(): Promise<void> {
    const places = this.page.getByRole('navigation', { name: 'Places' });
    await places.getByRole('link', { name: 'Playground' }).click();
    await this.page.getByText('Nothing written yet').waitFor();
  }

  /** Lets the chosen model go on, and waits until it has. */
  async write(prompt: string, tokens: number): Promise<void> {
    await this.page.getByLabel('Tokens', { exact: true }).fill(String(tokens));
    await this.page.getByLabel('Prompt').fill(prompt);
    await this.page.getByRole('button', { name: 'Write' }).click();
    await this.page
      .getByRole('log')
      .first()
      .getByText(/tok\/s/)
      .waitFor({ timeout: workTimeoutMs });
  }
}
