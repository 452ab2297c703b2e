import type { ByteSource } from '../byte-source.ts';
import { MAX_GGUF_HEADER_BYTES } from '../limits.ts';
import { count } from '../problems.ts';

/** What is wrong with a header; the message completes a sentence that names the place. */
export class HeaderError extends Error {}

/** Bytes fetched at a time: headers are a few megabytes at most, and most values have a few bytes. */
const WINDOW_BYTES = 1 << 16;

/** Reads little-endian values from a source one after another, through a small window. Nothing is allocated before it is known to be in the file. */
export class ByteCursor {
  readonly #source: ByteSource;
  #position = 0;
  #window = new Uint8Array(0);
  #windowPosition = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Next byte from the beginning of the file. */
  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#source.size - this.#position;
  }

  /** A copy of the next bytes, in a buffer of its own. Throws HeaderError past the end. */
  bytes(length: number): Uint8Array {
    if (length > this.remaining)
      throw new HeaderError(
        `is cut: ${count(length)} bytes are needed at byte ${count(this.#position)} and ${count(this.remaining)} are left`,
      );
    if (this.#position + length > MAX_GGUF_HEADER_BYTES)
      throw new HeaderError(`reaches beyond byte ${count(MAX_GGUF_HEADER_BYTES)}, the limit for a header`);
    const result = new Uint8Array(length);
    if (length > WINDOW_BYTES) this.#source.readInto(this.#position, result);
    else {
      this.#fill(length);
      const begin = this.#position - this.#windowPosition;
      result.set(this.#window.subarray(begin, begin + length));
    }
    this.#position += length;
    return result;
  }

  uint32(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0, true);
  }

  uint64(): bigint {
    return new DataView(this.bytes(8).buffer).getBigUint64(0, true);
  }

  /** A length of 64 bits and that many bytes of UTF-8. */
  string(maxBytes: number): string {
    const length = this.uint64();
    if (length > BigInt(this.remaining))
      throw new HeaderError(
        `claims a string of ${count(length)} bytes but the file has ${count(this.remaining)} bytes left`,
      );
    if (length > BigInt(maxBytes))
      throw new HeaderError(
        `has a string of ${count(length)} bytes, more than the limit of ${count(maxBytes)}`,
      );
    const bytes = this.bytes(Number(length));
    try {
      return utf8.decode(bytes);
    } catch {
      throw new HeaderError('holds a string that is not valid UTF-8');
    }
  }

  #fill(length: number): void {
    const begin = this.#position - this.#windowPosition;
    if (begin >= 0 && begin + length <= this.#window.length) return;
    this.#window = new Uint8Array(Math.min(WINDOW_BYTES, this.#source.size - this.#position));
    this.#source.readInto(this.#position, this.#window);
    this.#windowPosition = this.#position;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
