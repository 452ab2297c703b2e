import { padded, plannedTensors, valueBytesOf } from './layout.ts';
import type { PackageSource } from './types.ts';

/** Where the bytes of a package are. */
export interface BytePart {
  name: string;
  bytes: number;
}

/** What the tensors of a quantized linear hold, by the last part of their names (docs/format.md section 3). */
const linearParts: Readonly<Record<string, string>> = {
  planes: 'codes',
  base3: 'codes',
  scales: 'scales',
  offsets: 'offsets',
  levels: 'levels',
  salient_mask: 'column masks',
  column_scale: 'column scales',
  row_scale: 'row scales',
  bias: 'biases',
  residual_columns: 'residual columns',
  residual_planes: 'residual columns',
  residual_scales: 'residual columns',
};

/**
 * Bytes on disk by what they are for, padding included, in the order of use: parts of the quantized linears, tables, norms, the rest. They add up to
 * `packageBytes`.
 */
export function bytesByPart(source: PackageSource): BytePart[] {
  const sums = new Map<string, number>();
  const add = (name: string, bytes: number) => sums.set(name, (sums.get(name) ?? 0) + bytes);
  const { embedding, head } = source.architecture;
  let tensorBytes = 0;
  for (const [name, entry] of Object.entries(source.quantization.tensors)) {
    for (const tensor of plannedTensors(name, entry)) {
      const bytes = padded(valueBytesOf(tensor));
      tensorBytes += bytes;
      if (entry.layout === 'float') add(/norm/.test(name) ? 'norms' : 'other tensors', bytes);
      else if (entry.layout === 'table' || entry.layout === 'grid-table')
        add(name !== embedding.table ? 'head' : head.tied ? 'embedding and head' : 'embedding', bytes);
      else {
        const part = tensor.name.slice(tensor.name.lastIndexOf('.') + 1);
        add(linearParts[part] ?? part, bytes);
      }
    }
  }
  add('header', source.modelBytes - tensorBytes);
  add('tokenizer, config, card', source.packageBytes - source.modelBytes);
  const order = [...new Set(Object.values(linearParts))];
  order.push(
    'embedding and head',
    'embedding',
    'head',
    'norms',
    'other tensors',
    'header',
    'tokenizer, config, card',
  );
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...sums]
    .map(([name, bytes]) => ({ name, bytes }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => rank(a.name) - rank(b.name));
}
