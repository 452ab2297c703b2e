import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { dbell, numberAt } from './command.ts';
import type { Figure } from './harness.ts';

export interface QuantizeAndMeasure {
  /** Where packages and the history go. */
  scratch: string;
  /** First part of the package's name. */
  name: string;
  model: string;
  recipe: string;
  activationBits: number;
  calibration: { text: string; windows: number; context: number };
  evaluation: { text: string; windows: number; context: number; separator: string };
}

/** Folder of a package made here; other items use it again. */
export function packagePath(scratch: string, name: string, recipe: string, activationBits: number): string {
  return path.join(scratch, 'packages', `${name}-${recipe}-a${activationBits}`);
}

/** Options of a quantization that makes a package of `m` at `out`. */
export function quantizeArguments(m: QuantizeAndMeasure, out: string): string[] {
  const options = {
    '--recipe': m.recipe,
    '--activation-bits': m.activationBits,
    '--calibration': m.calibration.text,
    '--windows': m.calibration.windows,
    '--context': m.calibration.context,
    '--out': out,
  };
  return ['quantize', m.model, ...Object.entries(options).flatMap(([key, value]) => [key, String(value)])];
}

/** Quantizes (unless the package is there already) and measures the package's perplexity with the packed runtime. */
export async function quantizeAndMeasure(m: QuantizeAndMeasure): Promise<Figure[]> {
  const home = path.join(m.scratch, 'home');
  const out = packagePath(m.scratch, m.name, m.recipe, m.activationBits);
  const figures: Figure[] = [];
  if (!existsSync(out)) {
    rmSync(`${out}.partial`, { recursive: true, force: true });
    const made = await dbell(quantizeArguments(m, out), { home });
    figures.push({ name: 'peak RSS bytes of quantize', measured: numberAt(made, 'peakRssBytes') });
  }
  const quality = JSON.parse(readFileSync(path.join(out, 'quality.json'), 'utf8')) as {
    linears: { storedBitsPerWeight?: unknown };
  };
  const stored = quality.linears.storedBitsPerWeight;
  if (typeof stored !== 'number') throw new Error('quality.json has no linears.storedBitsPerWeight');
  figures.push({ name: 'stored bits per weight', measured: stored });
  const { text, windows, context, separator } = m.evaluation;
  const options = {
    '--text': text,
    '--context': context,
    '--windows': windows,
    '--document-separator': separator,
  };
  const measured = await dbell(
    ['perplexity', out, ...Object.entries(options).flatMap(([key, value]) => [key, String(value)])],
    { home },
  );
  figures.push({
    name: `perplexity at A${m.activationBits} (${windows} × ${context} tokens)`,
    measured: numberAt(measured, 'perplexity'),
  });
  return figures;
}

/** Puts the asked value beside the figure whose name starts with `prefix`. */
export function ask(
  figures: Figure[],
  prefix: string,
  check: (value: number, name: string) => Figure,
): Figure[] {
  return figures.map((figure) =>
    figure.name.startsWith(prefix) ? check(figure.measured as number, figure.name) : figure,
  );
}
