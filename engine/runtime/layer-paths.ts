import type { LayerPath } from '../contract/measurement.ts';
import type { PackageSource, PackedLinear, PackedTable } from '../package/types.ts';

/**
 * Which kernels each part of a package runs by, alike ones together, in the order of the model. `kernelPath` is the device's, such as `avx512vnni` or `float-avx2`. The LM
 * head of a quantized table runs in integers whatever the activations are.
 */
export function layerPaths(source: PackageSource, kernelPath: string): LayerPath[] {
  const paths = new Map<string, LayerPath>();
  const add = (path: string, bytes: number): void => {
    const known = paths.get(path) ?? { path, layers: 0, bytes: 0 };
    paths.set(path, { path, layers: known.layers + 1, bytes: known.bytes + bytes });
  };
  for (const linear of source.linears.values())
    add(`${kernelPath}: ${linearStorage(linear)}`, linear.storedBytes);
  const { head } = source;
  const integer = kernelPath.replace(/^float-/, '');
  const headPath =
    head.bits === 16 ? (kernelPath.startsWith('float-') ? kernelPath : `float-${kernelPath}`) : integer;
  add(`${headPath}: head, ${tableStorage(head)}`, head.storedBytes);
  return [...paths.values()];
}

function linearStorage(linear: PackedLinear): string {
  if (linear.layout === 'structured') return 'structured binarization, 2 planes';
  const codes =
    linear.codeLayout === 'base-3'
      ? 'base 3'
      : linear.planeCount === 1
        ? '1 plane'
        : `${linear.planeCount} planes`;
  const residual = linear.residual === null ? '' : ', residual columns';
  return `grid of ${linear.levels} levels, ${codes}${residual}`;
}

function tableStorage(table: PackedTable): string {
  return table.bits === 'grid' ? linearStorage(table.linear) : `table of ${table.bits} bits`;
}
