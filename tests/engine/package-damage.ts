/** Ways to damage a copy of a package on disk. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export type Json = Record<string, unknown>;
interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

export function editJson(file: string, edit: (value: Json) => void): void {
  const value = JSON.parse(readFileSync(file, 'utf8')) as Json;
  edit(value);
  writeFileSync(file, JSON.stringify(value));
}

export function config(edit: (quantization: Json, config: Json) => void) {
  return (copy: string) =>
    editJson(path.join(copy, 'config.json'), (value) => edit(value.quantization_config as Json, value));
}

export function entry(name: string, changes: Json) {
  return config((quantization) =>
    Object.assign((quantization.tensors as Record<string, Json>)[name]!, changes),
  );
}

/** Rewrites the header of model.safetensors, padded to the same length where it fits, and the size that config.json states. */
export function header(edit: (header: Record<string, HeaderEntry>) => void, extraBytes = 0) {
  return (copy: string) => {
    const file = path.join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const data = 8 + Number(bytes.readBigUInt64LE(0));
    const value = JSON.parse(bytes.toString('utf8', 8, data));
    edit(value);
    const json = JSON.stringify(value);
    const length = Math.ceil((8 + json.length) / 64) * 64 - 8 + extraBytes;
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt(length));
    const result = Buffer.concat([field, Buffer.from(json.padEnd(length)), bytes.subarray(data)]);
    writeFileSync(file, result);
    config((quantization) => {
      (quantization.files as Record<string, Json>)['model.safetensors']!.bytes = result.length;
    })(copy);
  };
}

/** Changes bytes of a tensor in place. */
export function tensor(name: string, edit: (bytes: Buffer) => void) {
  return (copy: string) => {
    const file = path.join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const data = 8 + Number(bytes.readBigUInt64LE(0));
    const { data_offsets } = JSON.parse(bytes.toString('utf8', 8, data))[name] as HeaderEntry;
    edit(bytes.subarray(data + data_offsets[0], data + data_offsets[1]));
    writeFileSync(file, bytes);
  };
}

/** Changes an entry and the stored bytes that quality.json states for it: what a package says that lies in all its places. */
export function entryWithBytes(name: string, changes: Json, storedBytes: number) {
  return (copy: string) => {
    entry(name, changes)(copy);
    editJson(path.join(copy, 'quality.json'), (quality) => {
      const layers = quality.layers as (Record<'storedBytes' | 'weights', number> & Json)[];
      const layer = layers.find((each) => each.name === name)!;
      layer.storedBytes = storedBytes;
      layer.storedBitsPerWeight = (8 * storedBytes) / layer.weights;
      const linears = quality.linears as Record<'storedBytes' | 'weights' | 'storedBitsPerWeight', number>;
      linears.storedBytes = layers.reduce((sum, each) => sum + each.storedBytes, 0);
      linears.storedBitsPerWeight = (8 * linears.storedBytes) / linears.weights;
    });
  };
}
