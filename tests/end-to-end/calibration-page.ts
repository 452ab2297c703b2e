import type { Locator, Page } from '@playwright/test';
import { workTimeoutMs } from './pages.ts';

/** The wizard's third step: texts, windows and output, and what it says of each. */
export class CalibrationPage {
  readonly page: Page;
  constructor(page: Page) {
    this.page = page;
  }

  aside(): Locator {
    return this.page.getByRole('complementary', { name: 'What this means' });
  }

  start(): Locator {
    return this.page.getByRole('button', { name: 'Start' });
  }

  async open(): Promise<void> {
    await this.page.goto(`${new URL(this.page.url()).origin}/#/new/calibration`);
    await this.page.getByText('Window 1').waitFor({ timeout: workTimeoutMs });
  }

  ownText(which: 'calibration' | 'quality'): Locator {
    const fields = this.page.getByLabel('Text file, .jsonl file or folder of them');
    return which === 'calibration' ? fields.first() : fields.last();
  }

  async chooseOwnText(which: 'calibration' | 'quality'): Promise<void> {
    await this.choose(which, 'My own text…');
    await this.ownText(which).waitFor();
  }

  async choose(which: 'calibration' | 'quality', text: string): Promise<void> {
    await this.page.getByLabel(which === 'calibration' ? 'Text' : 'Judged on', { exact: true }).click();
    await this.page.getByRole('option', { name: text }).click();
  }

  output(): Locator {
    return this.page.getByLabel('Package folder');
  }

  /** What stands at a field. */
  async problemOf(field: Locator): Promise<string> {
    const id = await field.getAttribute('aria-describedby');
    const texts = await Promise.all(
      (id ?? '').split(' ').map((each) => this.page.locator(`[id="${each}"][role=alert]`).allTextContents()),
    );
    return texts.flat().join(' ');
  }
}
