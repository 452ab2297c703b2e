import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { measureGrid } from '../../scripts/acceptance/items/grid.ts';
import { storiesGrids } from '../../scripts/acceptance/reference-values.ts';
import { bundled } from '../assets.ts';

const scratch = mkdtempSync(path.join(os.tmpdir(), 'dbell-stories-grid-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** One grid without and one with the limit on what 8-bit activations may cost; `npm run acceptance` has all of them. */
test.each([
  { levels: 2, activationBits: 16 },
  { levels: 4, activationBits: 8 },
] as const)(
  'the bundled model at grid-$levels, A$activationBits, is as good and as small as the independent values say',
  async ({ levels, activationBits }) => {
    const row = storiesGrids.find((grid) => grid.levels === levels)!;
    const figures = await measureGrid(row, activationBits, {
      scratch,
      name: 'stories',
      model: bundled.model,
      calibration: { text: bundled.trainingText, windows: 96, context: 512 },
      evaluation: { text: bundled.validationText, windows: 64, context: 512, separator: '0' },
    });
    console.log(figures.map(({ name, measured }) => `${name}: ${measured}`).join(', '));
    expect(figures.filter((figure) => figure.pass === false)).toEqual([]);
    expect(figures.filter((figure) => figure.pass === true).length).toBeGreaterThanOrEqual(2);
  },
  600_000,
);
