import { native, runtime } from '../../native/runtime.ts';
import type { PackageSource } from '../../package/types.ts';
import { describeForNative } from '../model-description.ts';
import type { GpuPackage } from './gpu-package.ts';

/** An open package as devices take it. Its structure is checked by the same code as on the CPU. Throws DBellError. */
export function openGpuPackage(source: PackageSource): GpuPackage {
  const description = describeForNative(source);
  const { handle } = native(() => runtime.packedOpen(description));
  native(() => runtime.packedClose(handle));
  return {
    path: source.path,
    description,
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
