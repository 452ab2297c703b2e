import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from '@playwright/test';

/** Pictures of every screen, kept with the build. */
const pictures = path.resolve(import.meta.dirname, '..', '..', 'build', 'screens');

/** Themes and sizes in which every screen is looked at. */
export const screenVariants = [
  { theme: 'light', width: 1280, height: 800 },
  { theme: 'dark', width: 1280, height: 800 },
  { theme: 'light', width: 900, height: 600 },
  { theme: 'dark', width: 900, height: 600 },
] as const;

/** Serious violations of accessibility on what the page shows. */
export async function seriousViolations(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
}

/** Takes a picture and returns what is wrong with the screen: serious violations of accessibility, and what does not fit. */
export async function checkScreen(page: Page, name: string, variant: string): Promise<string[]> {
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}-${variant}.png`) });
  const found = (await seriousViolations(page)).map(({ id, nodes }) => {
    const places = nodes.map(({ target }) => target.join(' ')).slice(0, 4);
    return `${name}: ${id}: ${places.join(' | ')}`;
  });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (overflow > 0) found.push(`${name}: ${overflow} px wider than the window`);
  const cut = await page.evaluate(() =>
    [...document.querySelectorAll('.figure')]
      .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
      .map((figure) => figure.querySelector('.value')?.textContent),
  );
  return [...found, ...cut.map((value) => `${name}: the figure ${value} runs into the next one`)];
}
