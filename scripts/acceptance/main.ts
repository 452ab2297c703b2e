/** `npm run acceptance`: everything that was promised, at full size, item by item; `--help` says how. */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root, runItems } from './harness.ts';
import { agreementItems } from './items/agreement.ts';
import { cloneItems } from './items/clone.ts';
import { costItems } from './items/cost.ts';
import { exportItems } from './items/export.ts';
import { fullPrecisionItems, greedyItems } from './items/full-precision.ts';
import { gpuItems } from './items/gpu.ts';
import { gridFamilyItems } from './items/grid.ts';
import { killItems } from './items/kills.ts';
import { smollmItems, storiesItems } from './items/recipes.ts';
import { robustnessItems } from './items/robustness.ts';
import { runtimeItems } from './items/runtime.ts';
import { verdictItems } from './items/verdicts.ts';

const usage = `npm run acceptance -- [options]

Runs everything that was promised, at full size, item by item; hours on two
cores. What has passed already is left out. Results go to docs/acceptance.json
and docs/measurements.md.

  --list           show the items and their state, run nothing
  --only REGEX     only the items whose names match
  --again          also those that have passed
  --scratch DIR    where packages are kept (default: .acceptance)
  --help           show this
`;

const values = readOptions();
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        list: { type: 'boolean', default: false },
        only: { type: 'string' },
        again: { type: 'boolean', default: false },
        scratch: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}

const passed = await runItems(
  [
    ...fullPrecisionItems,
    ...greedyItems,
    ...storiesItems,
    ...costItems,
    ...smollmItems,
    ...verdictItems,
    ...gridFamilyItems,
    ...exportItems,
    ...agreementItems,
    ...gpuItems,
    ...runtimeItems,
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
