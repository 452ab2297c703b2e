/** Mutations of files that have a length-prefixed or JSON header: what breaks readers are counts, lengths, offsets and types. */

/** Small seeded generator (mulberry32): the same seed gives the same run. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const interestingIntegers = [
  0n,
  1n,
  2n,
  7n,
  8n,
  31n,
  32n,
  63n,
  64n,
  127n,
  128n,
  255n,
  256n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x1fffffffffffffn,
  0x20000000000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
];

const interestingJson = [
  '0',
  '-1',
  '1e999',
  '1.5',
  'null',
  'true',
  '[]',
  '{}',
  '""',
  '"__proto__"',
  '9007199254740993',
  '18446744073709551615',
  '4294967296',
  '"F32"',
  '"BF16"',
  '"F8_E4M3"',
  '[0,0]',
  '[-1,4]',
  '[1e308]',
];

/** Applies one to eight random mutations, most of them within the first `headerBytes`, and returns a new array. */
export function mutate(input: Uint8Array, random: () => number, headerBytes: number): Uint8Array {
  let bytes: Uint8Array = input.slice();
  const below = (limit: number) => Math.floor(random() * limit);
  const position = () => below(random() < 0.85 ? Math.min(headerBytes, bytes.length) : bytes.length);
  const rounds = 1 + below(8);
  for (let round = 0; round < rounds; round++) {
    if (bytes.length === 0) break;
    const at = position();
    switch (below(9)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << below(8));
        break;
      case 1:
        bytes[at] = below(256);
        break;
      case 2: {
        const width = [1, 2, 4, 8][below(4)]!;
        const value = interestingIntegers[below(interestingIntegers.length)]!;
        for (let i = 0; i < width && at + i < bytes.length; i++)
          bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
        break;
      }
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4: {
        const extra = new Uint8Array(bytes.length + 1 + below(64));
        extra.set(bytes);
        bytes = extra;
        break;
      }
      case 5: {
        // Copy a run of bytes somewhere else.
        const length = 1 + below(64);
        bytes.copyWithin(position(), at, Math.min(at + length, bytes.length));
        break;
      }
      case 6:
        bytes = replaceJsonValue(bytes, random, headerBytes);
        break;
      case 7: {
        // Delete a run: what follows moves, every offset lies.
        const length = 1 + below(16);
        bytes = concat(bytes.subarray(0, at), bytes.subarray(Math.min(at + length, bytes.length)));
        break;
      }
      default: {
        // Change one decimal digit of a number in the header.
        const found = indexOfDigit(bytes, at, Math.min(headerBytes, bytes.length));
        if (found >= 0) bytes[found] = 0x30 + below(10);
      }
    }
  }
  return bytes;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

function indexOfDigit(bytes: Uint8Array, from: number, end: number): number {
  for (let i = from; i < end; i++) if (bytes[i]! >= 0x30 && bytes[i]! <= 0x39) return i;
  return -1;
}

/** Replaces the value behind a random colon of the JSON header, keeping the safetensors length prefix true half of the time. */
function replaceJsonValue(bytes: Uint8Array, random: () => number, headerBytes: number): Uint8Array {
  const end = Math.min(headerBytes, bytes.length);
  const colons: number[] = [];
  for (let i = 8; i < end; i++) if (bytes[i] === 0x3a) colons.push(i);
  if (colons.length === 0) return bytes;
  const colon = colons[Math.floor(random() * colons.length)]!;
  let stop = colon + 1;
  let depth = 0;
  for (; stop < end; stop++) {
    const c = bytes[stop]!;
    if (c === 0x5b || c === 0x7b) depth++;
    if (c === 0x5d || c === 0x7d) {
      if (depth === 0) break;
      depth--;
    }
    if (c === 0x2c && depth === 0) break;
  }
  const value = new TextEncoder().encode(interestingJson[Math.floor(random() * interestingJson.length)]);
  const result = concat(concat(bytes.subarray(0, colon + 1), value), bytes.subarray(stop));
  if (random() < 0.5 && result.length >= 8) {
    const view = new DataView(result.buffer);
    const length = view.getBigUint64(0, true) + BigInt(value.length - (stop - colon - 1));
    view.setBigUint64(0, BigInt.asUintN(64, length), true);
  }
  return result;
}
