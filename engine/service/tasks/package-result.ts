import { z } from 'zod';
import { selfTextSchema } from '../../contract/quantization.ts';
import { openPackage } from '../../package/open.ts';
import { storedTables } from '../../package/stored-tables.ts';

/** Notes of layers that a result repeats; the history has all of them. */
const shownNotes = 20;

/** The calibration as the package keeps it (quality.json); null for recipes that looked at no text. */
const calibrationSchema = z.object({
  windowCount: z.number(),
  context: z.number(),
  source: z.object({ name: z.string(), textSha256: z.string(), self: selfTextSchema.optional() }),
  fingerprint: z.string(),
  computedBy: z.string().optional(),
});

export function calibrationOf(kept: Record<string, unknown>) {
  const parsed = calibrationSchema.safeParse(kept);
  if (!parsed.success) return null;
  const { source, windowCount, context, fingerprint, computedBy } = parsed.data;
  return {
    ...{ name: source.name, textSha256: source.textSha256, windows: windowCount, context, fingerprint },
    ...(source.self === undefined ? {} : { self: source.self }),
    ...(computedBy === undefined ? {} : { computedBy }),
  };
}

/** Each note once, with the layers that it is about. */
function groupNotes(layers: { name: string; notes: string[] }[]): string[] {
  const byNote = new Map<string, string[]>();
  for (const { name, notes } of layers) {
    for (const note of notes) byNote.set(note, [...(byNote.get(note) ?? []), name]);
  }
  return [...byNote].map(([note, names]) =>
    names.length === 1 ? `${names[0]}: ${note}` : `${names.length} layers: ${note}`,
  );
}

/** What can be said of a package from its own files: the part of a quantization's result that outlives the run. */
export async function describePackage(folder: string) {
  const source = await openPackage(folder);
  try {
    const { quality, quantization } = source;
    const layers = quality.layers.map(({ name, relativeError, weightRelativeError, notes }) => ({
      name,
      relativeError,
      weightRelativeError,
      notes,
    }));
    const worstFirst = [...layers].sort((a, b) => b.relativeError - a.relativeError);
    const notes = groupNotes([...layers, ...(quality.tables ?? [])]);
    return {
      package: source.path,
      recipe: quantization.recipe.name,
      activationBits: source.activationBits,
      embeddingBits: quantization.embedding_bits,
      tables: storedTables(source),
      storedBitsPerWeight: source.storedBitsPerWeight,
      nominalBitsPerWeight: quality.linears.nominalBitsPerWeight,
      bytes: source.packageBytes,
      modelBytes: source.modelBytes,
      blocks: source.architecture.blocks.length,
      layers,
      identity: {
        sourceFingerprint: quality.sourceFingerprint,
        packageFingerprint: quality.configSha256,
        storedBitsPerWeight: source.storedBitsPerWeight,
      },
      calibration: calibrationOf(quality.calibration),
      worstLayers: worstFirst.slice(0, 10),
      meanRelativeError:
        layers.reduce((sum, { relativeError }) => sum + relativeError, 0) / Math.max(1, layers.length),
      layerNotes:
        notes.length > shownNotes
          ? [...notes.slice(0, shownNotes), `and ${notes.length - shownNotes} more`]
          : notes,
    };
  } finally {
    source.close();
  }
}
