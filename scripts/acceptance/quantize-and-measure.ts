import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { dbell, numberAt } from './command.ts';
import { commit, type Figure } from './harness.ts';

export interface QuantizeAndMeasure {
  /** Where packages and the history go. */
  scratch: string;
  /** First part of the package's name. */
  name: string;
  model: string;
  recipe: string;
  activationBits: number;
  /** Of embedding and head; 16 where it is left out. */
  embeddingBits?: number;
  /** Changed fields of the recipe, `key=value`. */
  set?: string[];
  calibration: { text: string; windows: number; context: number };
  evaluation: { text: string; windows: number; context: number; separator: string };
}

/** Folder of a package made here; other items use it again. */
export function packagePath(
  scratch: string,
  name: string,
  recipe: string,
  activationBits: number,
  embeddingBits = 16,
): string {
  const tables = embeddingBits === 16 ? '' : `-e${embeddingBits}`;
  return path.join(scratch, 'packages', `${name}-${recipe}-a${activationBits}${tables}`);
}

/** Options of a quantization that makes a package of `m` at `out`. */
export function quantizeArguments(m: QuantizeAndMeasure, out: string): string[] {
  const options = {
    '--recipe': m.recipe,
    '--activation-bits': m.activationBits,
    ...(m.embeddingBits === undefined ? {} : { '--embedding-bits': m.embeddingBits }),
    '--calibration': m.calibration.text,
    '--windows': m.calibration.windows,
    '--context': m.calibration.context,
    '--out': out,
  };
  return [
    ...['quantize', m.model, ...Object.entries(options).flatMap(([key, value]) => [key, String(value)])],
    ...(m.set ?? []).flatMap((field) => ['--set', field]),
  ];
}

/** quality.json, as far as items look at it. */
interface KeptQuality {
  linears: { storedBitsPerWeight?: unknown };
  perplexities: {
    perplexity: number;
    textSha256: string;
    context: number;
    windows: number;
    activationBits: number;
  }[];
}

function keptQuality(folder: string): KeptQuality {
  return JSON.parse(readFileSync(path.join(folder, 'quality.json'), 'utf8')) as KeptQuality;
}

/**
 * Makes the package unless it is there already. Returns its folder and the peak memory if it was made now, else the commit that made it: figures of a package
 * are of the code that made it, not of the code that measures it.
 */
export async function packageOf(m: QuantizeAndMeasure): Promise<{ out: string; figures: Figure[] }> {
  const out = packagePath(m.scratch, m.name, m.recipe, m.activationBits, m.embeddingBits);
  const stamp = `${out}.commit`;
  if (existsSync(out)) {
    const made = existsSync(stamp) ? readFileSync(stamp, 'utf8') : 'unknown';
    return { out, figures: [{ name: 'package made before, at commit', measured: made }] };
  }
  rmSync(`${out}.partial`, { recursive: true, force: true });
  const madeAt = commit();
  const made = await dbell(quantizeArguments(m, out), { home: path.join(m.scratch, 'home') });
  writeFileSync(stamp, madeAt);
  return {
    out,
    figures: [{ name: 'peak RSS bytes of quantize', measured: numberAt(made, 'peakRssBytes') }],
  };
}

/** Options that name the text and the windows of a measurement. */
export function evaluationArguments({
  text,
  windows,
  context,
  separator,
}: QuantizeAndMeasure['evaluation']): string[] {
  return [
    ...['--text', text, '--context', String(context), '--windows', String(windows)],
    ...['--document-separator', separator],
  ];
}

/**
 * Perplexity of a package by the packed runtime. One that the package was measured with before by another item (same text, context, windows and activation
 * bits) is taken from quality.json.
 */
export async function perplexityOf(m: QuantizeAndMeasure, out: string): Promise<number> {
  const textSha256 = createHash('sha256').update(readFileSync(m.evaluation.text)).digest('hex');
  const known = keptQuality(out).perplexities.find(
    (entry) =>
      entry.textSha256 === textSha256 &&
      entry.context === m.evaluation.context &&
      entry.windows === m.evaluation.windows &&
      entry.activationBits === m.activationBits,
  );
  if (known !== undefined) return known.perplexity;
  const measured = await dbell(
    [
      ...['perplexity', out, '--activation-bits', String(m.activationBits)],
      ...evaluationArguments(m.evaluation),
    ],
    { home: path.join(m.scratch, 'home') },
  );
  return numberAt(measured, 'perplexity');
}

/** What `quality` says of a package beside its original on the whole evaluation text. */
export function judged(m: QuantizeAndMeasure, out: string): Promise<Record<string, unknown>> {
  return dbell(['quality', out, '--against', m.model, '--no-samples', ...evaluationArguments(m.evaluation)], {
    home: path.join(m.scratch, 'home'),
  });
}

/** Its figures besides perplexities. */
export function verdictFigures(quality: Record<string, unknown>): Figure[] {
  return [
    { name: 'share of positions with the same top token', measured: numberAt(quality, 'topTokenAgreement') },
    {
      name: 'KL divergence, nats per token',
      measured: (quality.klDivergenceNats as { mean: number }).mean,
    },
    { name: 'verdict', measured: String(quality.verdict) },
  ];
}

export function storedBitsOf(out: string): number {
  const stored = keptQuality(out).linears.storedBitsPerWeight;
  if (typeof stored !== 'number') throw new Error('quality.json has no linears.storedBitsPerWeight');
  return stored;
}

/** Quantizes (unless the package is there already) and measures the package's perplexity with the packed runtime. */
export async function quantizeAndMeasure(m: QuantizeAndMeasure): Promise<Figure[]> {
  const { out, figures } = await packageOf(m);
  const { windows, context } = m.evaluation;
  return [
    ...figures,
    { name: 'stored bits per weight', measured: storedBitsOf(out) },
    {
      name: `perplexity at A${m.activationBits} (${windows} × ${context} tokens)`,
      measured: await perplexityOf(m, out),
    },
  ];
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
