import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type ItemResult, root } from './acceptance/harness.ts';

/** Items that measured a recipe on a whole model: their prefixes, that of the verdicts on its packages, the model, and the item that gives its full-precision perplexity. */
const models = [
  {
    prefixes: ['stories/', 'grid/stories-'],
    verdicts: 'verdict/stories-',
    model: 'dbell-stories-7m',
    parameters: 7_344_384,
    original: 'full-precision/dbell-stories-7m',
  },
  {
    prefixes: ['smollm/', 'grid/smollm-'],
    verdicts: 'verdict/smollm-',
    model: 'SmolLM2-135M-Instruct',
    parameters: 134_515_008,
    original: 'full-precision/smollm2-148x2048',
  },
] as const;

export interface MeasurementRow {
  model: string;
  parameters: number;
  recipe: string;
  activationBits: number;
  storedBitsPerWeight: number;
  perplexity: number;
  fullPrecisionPerplexity: number;
  /** Share of positions at which package and original prefer the same token; null where that was not measured. */
  topTokenAgreement: number | null;
}

function figure(result: ItemResult | undefined, begin: string): number | null {
  const found = result?.figures.find(({ name }) => name.startsWith(begin))?.measured;
  return typeof found === 'number' && Number.isFinite(found) ? found : null;
}

/** Recipes with their stored bits and perplexity, from the acceptance results; an item without either is left out. */
export function measurementRows(results: Record<string, ItemResult>): MeasurementRow[] {
  return models.flatMap(({ prefixes, verdicts, model, parameters, original }) => {
    const fullPrecisionPerplexity = figure(results[original], 'perplexity');
    if (fullPrecisionPerplexity === null) return [];
    return Object.entries(results).flatMap(([id, result]) => {
      const prefix = prefixes.find((each) => id.startsWith(each));
      const match = prefix === undefined ? null : /^([a-z0-9+-]+)-a(16|8|6|4)$/.exec(id.slice(prefix.length));
      const storedBitsPerWeight = figure(result, 'stored bits');
      const perplexity = figure(result, 'perplexity');
      if (!match?.[1] || storedBitsPerWeight === null || perplexity === null) return [];
      const activationBits = Number(match[2]);
      return [
        {
          model,
          parameters,
          recipe: match[1],
          activationBits,
          storedBitsPerWeight,
          perplexity,
          fullPrecisionPerplexity,
          topTokenAgreement: figure(
            results[`${verdicts}${match[1]}-a${activationBits}`],
            'share of positions with the same top token',
          ),
        },
      ];
    });
  });
}

/** resources/measurements.json: what the studio draws its scatter of recipes from. */
export function writeMeasurementRows(results: Record<string, ItemResult>): void {
  const file = path.join(root, 'resources', 'measurements.json');
  writeFileSync(file, `${JSON.stringify({ rows: measurementRows(results) }, null, 2)}\n`);
}
