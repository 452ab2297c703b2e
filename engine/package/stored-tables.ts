import type { StoredTable } from '../contract/common.ts';
import type { PackageSource, PackedTable } from './types.ts';

/** Embedding and LM head with what they take and how well they fit; one entry where they are one table. */
export function storedTables({ embedding, head, quality, quantization }: PackageSource): StoredTable[] {
  return [...new Set<PackedTable>([embedding, head])].map(({ name, bits, rows, columns, storedBytes }) => {
    // A package of a version before tables of 6 and 4 bits says nothing of its tables, which are all rounded.
    const known = quality.tables?.find((table) => table.name === name);
    return {
      name,
      // Of a grid: its planes, which the reader has compared with this.
      bits: bits === 'grid' ? quantization.embedding_bits : bits,
      method: known?.method ?? 'rounded',
      relativeError: known?.relativeError ?? null,
      weightRelativeError: known?.weightRelativeError ?? null,
      storedBytes,
      storedBitsPerWeight: (8 * storedBytes) / (rows * columns),
    };
  });
}
