import {
  alignment,
  elementBytes,
  type PlannedTensor,
  padded,
  storedShapeOf,
  valueBytesOf,
} from './layout.ts';

/** Where a planned tensor's bytes go, from the beginning of the data section. */
export interface PlacedTensor extends PlannedTensor {
  offset: number;
  /** With padding. */
  byteLength: number;
}

export interface SafetensorsPlan {
  /** Length field, JSON and spaces: everything before the data. Its length is a multiple of 64. */
  header: Uint8Array;
  /** In file order. */
  tensors: PlacedTensor[];
  dataBytes: number;
}

/** Lays tensors one behind the other and writes the header; its keys are sorted, so that the bytes depend on the tensors alone. */
export function planSafetensors(
  planned: readonly PlannedTensor[],
  metadata: Record<string, string>,
): SafetensorsPlan {
  let offset = 0;
  const tensors = planned.map((tensor) => {
    const placed = { ...tensor, offset, byteLength: padded(valueBytesOf(tensor)) };
    offset += placed.byteLength;
    return placed;
  });
  const parts = new Map<string, string>();
  for (const tensor of tensors) {
    if (parts.has(tensor.name)) throw new Error(`tensor ${tensor.name} is planned twice`);
    const shape = storedShapeOf(tensor);
    parts.set(
      tensor.name,
      JSON.stringify({
        data_offsets: [tensor.offset, tensor.offset + tensor.byteLength],
        dtype: tensor.dtype,
        shape,
      }),
    );
  }
  const members = [...parts].sort(([a], [b]) => (a < b ? -1 : 1));
  const pairs = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  members.unshift(['__metadata__', JSON.stringify(Object.fromEntries(pairs))]);
  const json = Buffer.from(
    `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`,
  );
  const lengthFieldBytes = 8;
  const total = Math.ceil((lengthFieldBytes + json.length) / alignment) * alignment;
  const header = new Uint8Array(total).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(total - lengthFieldBytes), true);
  header.set(json, lengthFieldBytes);
  return { header, tensors, dataBytes: offset };
}

export function elementCountOf(tensor: PlacedTensor): number {
  return valueBytesOf(tensor) / elementBytes[tensor.dtype];
}
