import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { DBellError } from '../contract/errors.ts';
import { textLimits } from './limits.ts';
import type { TextFile } from './text-files.ts';

/** Bytes of a file, a chunk at a time; the buffer is reused. Throws `disk-error`. */
export function* byteChunks(file: TextFile): Generator<Buffer> {
  let descriptor: number;
  try {
    descriptor = openSync(file.path, 'r');
  } catch (error) {
    throw new DBellError('invalid-text', `cannot open ${file.name}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    const buffer = Buffer.allocUnsafe(textLimits.chunkBytes);
    for (let position = 0; ; ) {
      const count = readSync(descriptor, buffer, 0, buffer.length, position);
      if (count === 0) return;
      position += count;
      yield buffer.subarray(0, count);
    }
  } catch (error) {
    if (error instanceof DBellError) throw error;
    throw new DBellError('disk-error', `reading ${file.name} failed: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    closeSync(descriptor);
  }
}

/** Text of a file, a chunk at a time, without a byte order mark. The file was checked before: bytes that are no UTF-8 throw. */
export function* textChunks(file: TextFile): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for (const bytes of byteChunks(file)) yield decoder.decode(bytes, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if (error instanceof TypeError)
      throw new DBellError('invalid-text', `${file.name} changed while it was read`, { cause: error });
    throw error;
  }
}

/**
 * Reads a file once to hash it and to check that it is UTF-8 text, before any long work. Returns the SHA-256 of its bytes, hex. Throws DBellError `invalid-text`
 * for an empty or binary file, UTF-16, or invalid UTF-8 (with the offset).
 */
export function checkTextFile(file: TextFile): string {
  const hash = createHash('sha256');
  let offset = 0;
  let carry: Buffer = Buffer.alloc(0);
  for (const chunk of byteChunks(file)) {
    if (offset === 0) checkByteOrderMark(file, chunk);
    hash.update(chunk);
    const zero = chunk.indexOf(0);
    if (zero !== -1)
      throw new DBellError(
        'invalid-text',
        `${file.name} is no text: byte ${offset + zero} is zero; give a UTF-8 text file`,
      );
    const bytes = carry.length === 0 ? chunk : Buffer.concat([carry, chunk]);
    const complete = bytes.length - incompleteTailLength(bytes);
    if (!isUtf8(bytes.subarray(0, complete))) {
      const at = offset - carry.length + firstInvalidByte(bytes);
      throw invalidUtf8(file, at);
    }
    carry = Buffer.from(bytes.subarray(complete));
    offset += chunk.length;
  }
  if (offset === 0) throw new DBellError('invalid-text', `${file.name} is empty (0 bytes)`);
  if (carry.length > 0) throw invalidUtf8(file, offset - carry.length);
  return hash.digest('hex');
}

function checkByteOrderMark(file: TextFile, bytes: Buffer): void {
  const first = bytes.length >= 2 ? bytes.readUInt16BE(0) : 0;
  if (first === 0xfffe || first === 0xfeff)
    throw new DBellError('invalid-text', `${file.name} is UTF-16; convert it to UTF-8`);
}

function invalidUtf8(file: TextFile, offset: number): DBellError {
  return new DBellError(
    'invalid-text',
    `${file.name} is not valid UTF-8: byte ${offset} starts no character; convert the file to UTF-8`,
  );
}

/** Bytes at the end that begin a character whose rest may follow (0 to 3). */
function incompleteTailLength(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? back : 0;
    }
  }
  return 0;
}

/** Offset of the first byte that no valid character covers, by bisection over character starts. */
function firstInvalidByte(bytes: Buffer): number {
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    const prefix = bytes.subarray(0, middle);
    if (isUtf8(prefix.subarray(0, prefix.length - incompleteTailLength(prefix)))) valid = middle;
    else invalid = middle;
  }
  const prefix = bytes.subarray(0, valid);
  return valid - incompleteTailLength(prefix);
}
