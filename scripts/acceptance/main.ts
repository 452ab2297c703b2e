/**
 * `npm run acceptance`: everything that was promised, at full size, item by item; hours on two cores.
 *
 *   npm run acceptance -- [--list] [--only REGEX] [--again] [--scratch DIR]
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root, runItems } from './harness.ts';
import { agreementItems } from './items/agreement.ts';
import { cloneItems } from './items/clone.ts';
import { costItems } from './items/cost.ts';
import { exportItems } from './items/export.ts';
import { fullPrecisionItems, greedyItems } from './items/full-precision.ts';
import { gridFamilyItems } from './items/grid.ts';
import { killItems } from './items/kills.ts';
import { smollmItems, storiesItems } from './items/recipes.ts';
import { robustnessItems } from './items/robustness.ts';

const { values } = parseArgs({
  options: {
    list: { type: 'boolean', default: false },
    only: { type: 'string' },
    again: { type: 'boolean', default: false },
    scratch: { type: 'string' },
  },
});

const passed = await runItems(
  [
    ...fullPrecisionItems,
    ...greedyItems,
    ...storiesItems,
    ...costItems,
    ...smollmItems,
    ...gridFamilyItems,
    ...exportItems,
    ...agreementItems,
    ...killItems,
    ...robustnessItems,
    ...cloneItems,
  ],
  {
    only: values.only ?? null,
    again: values.again,
    list: values.list,
    scratch: path.resolve(values.scratch ?? path.join(root, '.acceptance')),
  },
);
process.exitCode = passed ? 0 : 1;
