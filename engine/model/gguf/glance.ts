import type { ByteSource } from '../byte-source.ts';
import { MAX_GGUF_METADATA, MAX_NAME_BYTES } from '../limits.ts';
import { ByteCursor, HeaderError } from './cursor.ts';
import { readValue, readValueType } from './values.ts';

/**
 * `general.architecture` from the first bytes of a GGUF file, for files that are not here yet; null where it does not stand in them. Nothing else is
 * checked: `parseGgufHeader` does that once the file is here.
 */
export function glanceAtGgufArchitecture(begin: Uint8Array): string | null {
  const source: ByteSource = {
    name: 'GGUF',
    size: begin.length,
    readInto: (position, target) => target.set(begin.subarray(position, position + target.length)),
    close() {},
  };
  const cursor = new ByteCursor(source);
  try {
    if (Buffer.from(cursor.bytes(4)).toString('latin1') !== 'GGUF') return null;
    cursor.uint32();
    cursor.uint64();
    const pairs = Math.min(Number(cursor.uint64()), MAX_GGUF_METADATA);
    for (let pair = 0; pair < pairs; pair++) {
      const key = cursor.string(MAX_NAME_BYTES);
      const value = readValue(cursor, readValueType(cursor));
      if (key === 'general.architecture') return typeof value === 'string' ? value : null;
    }
  } catch (error) {
    if (!(error instanceof HeaderError)) throw error;
  }
  return null;
}
