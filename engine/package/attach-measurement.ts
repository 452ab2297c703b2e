import { existsSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { canonicalJson } from '../files/json.ts';
import { maximumMeasurements } from './limits.ts';
import { modelCard } from './model-card.ts';
import { openPackage } from './open.ts';
import { sealed } from './quality.ts';
import {
  type ComparisonEntry,
  comparisonEntrySchema,
  type PackageQuality,
  type PerplexityEntry,
  perplexityEntrySchema,
} from './schema.ts';

/** What makes two measurements the same one: then the newer replaces the older. */
function measurementKey(entry: PerplexityEntry | ComparisonEntry): string {
  return canonicalJson([entry.textSha256, entry.context, entry.windows, entry.activationBits]);
}

/**
 * Adds a measured perplexity to a package: quality.json and the model card are replaced by rename, nothing else changes. A measurement with the same text,
 * context, windows and activation bits is replaced. The order depends on the measurements, not on when they were made. Throws DBellError
 * `invalid-input` on an entry that is none, `invalid-package`, `not-found`, `disk-full`, `disk-error`.
 */
export async function attachPerplexity(packagePath: string, entry: PerplexityEntry): Promise<void> {
  const checked = checkedAs(perplexityEntrySchema, entry, `perplexity for ${packagePath}`);
  await replaceQuality(packagePath, (quality) => ({
    ...quality,
    perplexities: withEntry(packagePath, quality.perplexities, checked),
  }));
}

/** Adds a comparison with the original the same way. */
export async function attachComparison(packagePath: string, entry: ComparisonEntry): Promise<void> {
  const checked = checkedAs(comparisonEntrySchema, entry, `comparison for ${packagePath}`);
  await replaceQuality(packagePath, (quality) => ({
    ...quality,
    comparisons: withEntry(packagePath, quality.comparisons ?? [], checked),
  }));
}

function checkedAs<S extends z.ZodType>(schema: S, entry: unknown, what: string): z.output<S> {
  const checked = schema.safeParse(entry);
  if (checked.success) return checked.data;
  const issue = checked.error.issues[0];
  throw new DBellError('invalid-input', `${what}: ${issue?.path.join('.')}: ${issue?.message}`);
}

function withEntry<E extends PerplexityEntry | ComparisonEntry>(
  packagePath: string,
  entries: readonly E[],
  entry: E,
): E[] {
  const key = measurementKey(entry);
  const others = entries.filter((other) => measurementKey(other) !== key);
  if (others.length >= maximumMeasurements)
    throw new DBellError(
      'invalid-input',
      `${packagePath}: quality.json holds ${others.length} measurements of this kind already, which is the limit`,
    );
  return [...others, entry].sort((a, b) => (measurementKey(a) < measurementKey(b) ? -1 : 1));
}

async function replaceQuality(
  packagePath: string,
  change: (quality: PackageQuality) => PackageQuality,
): Promise<void> {
  const opened = await openPackage(packagePath, { checkValues: false });
  try {
    const updated = sealed(change(opened.quality));
    writeFileAtomically(path.join(opened.path, 'quality.json'), canonicalJson(updated));
    const card = path.join(opened.path, 'README.md');
    if (existsSync(card))
      writeFileAtomically(
        card,
        modelCard({
          quantization: opened.quantization,
          quality: updated,
          architecture: opened.architecture,
        }),
      );
  } finally {
    opened.close();
  }
}
