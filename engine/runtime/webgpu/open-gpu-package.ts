import { DBellError } from '../../contract/errors.ts';
import {
  type NativeGridTable,
  type NativeModelDescription,
  type NativeTable,
  native,
  runtime,
} from '../../native/runtime.ts';
import type { PackageSource } from '../../package/types.ts';
import { describeForNative } from '../model-description.ts';
import type { GpuPackage } from './gpu-package.ts';

/** An open package as devices take it. Its structure is checked by the same code as on the CPU. Throws DBellError. */
export function openGpuPackage(source: PackageSource): GpuPackage {
  const description = describeForNative(source);
  const { handle } = native(() => runtime.packedOpen(description));
  native(() => runtime.packedClose(handle));
  const plain = (table: NativeTable | NativeGridTable): NativeTable => {
    if (table.type === 'grid')
      throw new DBellError(
        'invalid-input',
        `${source.path} stores embedding or head as a grid, for which there are no kernels on a GPU; run it on the CPU (--device cpu)`,
      );
    return table;
  };
  const tables: Pick<NativeModelDescription<NativeTable>, 'embedding' | 'head'> = {
    embedding: plain(description.embedding),
    head: plain(description.head),
  };
  return {
    path: source.path,
    description: { ...description, ...tables },
    isHeadTied: source.head === source.embedding,
    read: ({ name, offset }, begin, length) =>
      source.readBytes({
        name,
        dtype: 'U8',
        shape: [length],
        offset: offset + begin,
        valueBytes: length,
        byteLength: length,
      }),
  };
}
