import { existsSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import { writeFileAtomically } from '../files/atomic.ts';
import { canonicalJson } from '../files/json.ts';
import { maximumPerplexities } from './limits.ts';
import { modelCard } from './model-card.ts';
import { openPackage } from './open.ts';
import { sealed } from './quality.ts';
import { type PerplexityEntry, perplexityEntrySchema } from './schema.ts';

/** What makes two measurements the same one: then the newer replaces the older. */
function measurementKey(entry: PerplexityEntry): string {
  return canonicalJson([entry.textSha256, entry.context, entry.windows, entry.activationBits]);
}

/**
 * Adds a measured perplexity to a package: quality.json and the model card are replaced by rename, nothing else changes. A measurement with the same text,
 * context, windows and activation bits is replaced. The order depends on the measurements, not on when they were made. Throws DBellError
 * `invalid-input` on an entry that is none, `invalid-package`, `not-found`, `disk-full`, `disk-error`.
 */
export async function attachPerplexity(packagePath: string, entry: PerplexityEntry): Promise<void> {
  const checked = perplexityEntrySchema.safeParse(entry);
  if (!checked.success)
    throw new DBellError(
      'invalid-input',
      `perplexity for ${packagePath}: ${checked.error.issues[0]?.path.join('.')}: ${checked.error.issues[0]?.message}`,
    );
  const opened = await openPackage(packagePath, { checkValues: false });
  try {
    const { quality } = opened;
    const key = measurementKey(checked.data);
    const others = quality.perplexities.filter((other) => measurementKey(other) !== key);
    if (others.length >= maximumPerplexities)
      throw new DBellError(
        'invalid-input',
        `${packagePath}: quality.json holds ${others.length} perplexities already, which is the limit`,
      );
    const perplexities = [...others, checked.data].sort((a, b) =>
      measurementKey(a) < measurementKey(b) ? -1 : 1,
    );
    const updated = sealed({ ...quality, perplexities });
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
