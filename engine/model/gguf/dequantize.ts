import { half, type Widen } from '../widen.ts';

/**
 * ggml's quantized blocks to float32, as ggml defines their values (block layouts of ggml-common.h). Every product of a scale with a code has at most
 * 24 significant bits and is exact; where a minimum is added or subtracted the sum is rounded once, to float32, when it is stored.
 */

const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);

/** 32 values: scale f16, 32 signed bytes. */
export const widenQ8_0: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 34) {
    const scale = half(u16(source, block));
    for (let i = 0; i < 32; i++) target[out++] = scale * ((source[block + 2 + i]! << 24) >> 24);
  }
};

/** 32 values: scale f16, 16 bytes whose low nibbles are values 0 … 15 and whose high nibbles are 16 … 31; code − 8. */
export const widenQ4_0: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 18) {
    const scale = half(u16(source, block));
    for (let i = 0; i < 16; i++) {
      const pair = source[block + 2 + i]!;
      target[out + i] = scale * ((pair & 15) - 8);
      target[out + 16 + i] = scale * ((pair >> 4) - 8);
    }
    out += 32;
  }
};

/** As Q4_0 with a minimum f16 instead of the fixed −8. */
export const widenQ4_1: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 20) {
    const scale = half(u16(source, block));
    const minimum = half(u16(source, block + 2));
    for (let i = 0; i < 16; i++) {
      const pair = source[block + 4 + i]!;
      target[out + i] = scale * (pair & 15) + minimum;
      target[out + 16 + i] = scale * (pair >> 4) + minimum;
    }
    out += 32;
  }
};

/** As Q4_0 with a fifth bit for each value in 32 bits behind the scale; code − 16. */
export const widenQ5_0: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 22) {
    const scale = half(u16(source, block));
    for (let i = 0; i < 16; i++) {
      const pair = source[block + 6 + i]!;
      target[out + i] = scale * (((pair & 15) | (bit(source, block + 2, i) << 4)) - 16);
      target[out + 16 + i] = scale * (((pair >> 4) | (bit(source, block + 2, 16 + i) << 4)) - 16);
    }
    out += 32;
  }
};

/** As Q5_0 with a minimum f16 instead of the fixed −16. */
export const widenQ5_1: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 24) {
    const scale = half(u16(source, block));
    const minimum = half(u16(source, block + 2));
    for (let i = 0; i < 16; i++) {
      const pair = source[block + 8 + i]!;
      target[out + i] = scale * ((pair & 15) | (bit(source, block + 4, i) << 4)) + minimum;
      target[out + 16 + i] = scale * ((pair >> 4) | (bit(source, block + 4, 16 + i) << 4)) + minimum;
    }
    out += 32;
  }
};

function bit(bytes: Uint8Array, at: number, index: number): number {
  return (bytes[at + (index >> 3)]! >> (index & 7)) & 1;
}

/**
 * 256 values in 16 groups of 16: 16 bytes (scale in the low nibble, minimum in the high), 64 bytes of 2-bit codes, scale f16 of the scales, f16 of the
 * minima. Each run of 32 code bytes holds 128 values, 2 bits at a time.
 */
export const widenQ2_K: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 84) {
    const scale = half(u16(source, block + 80));
    const minimum = half(u16(source, block + 82));
    for (let run = 0; run < 2; run++)
      for (let shift = 0; shift < 4; shift++)
        for (let part = 0; part < 2; part++) {
          const packed = source[block + 8 * run + 2 * shift + part]!;
          const groupScale = scale * (packed & 15);
          const groupMinimum = minimum * (packed >> 4);
          const codes = block + 16 + 32 * run + 16 * part;
          for (let i = 0; i < 16; i++)
            target[out++] = groupScale * ((source[codes + i]! >> (2 * shift)) & 3) - groupMinimum;
        }
  }
};

/**
 * 256 values in 16 groups of 16: 32 bytes with the third bit of every code, 64 bytes of low 2-bit codes arranged as in Q2_K, 12 bytes with sixteen 6-bit
 * scales (minus 32), scale f16. Code − 4 where the third bit is clear.
 */
export const widenQ3_K: Widen = (source, target, begin) => {
  let out = begin;
  const scales = new Int8Array(16);
  for (let block = 0; block < source.length; block += 110) {
    const scale = half(u16(source, block + 108));
    // Low nibbles of scales 0 … 7 in bytes 0 … 7, of 8 … 15 in their high nibbles; upper two bits in bytes 8 … 11.
    for (let i = 0; i < 16; i++) {
      const low = (source[block + 96 + (i & 7)]! >> (i < 8 ? 0 : 4)) & 15;
      const high = (source[block + 104 + (i & 3)]! >> (2 * (i >> 2))) & 3;
      scales[i] = (low | (high << 4)) - 32;
    }
    for (let run = 0; run < 2; run++)
      for (let shift = 0; shift < 4; shift++)
        for (let part = 0; part < 2; part++) {
          const groupScale = scale * scales[8 * run + 2 * shift + part]!;
          for (let i = 0; i < 16; i++) {
            const low = (source[block + 32 + 32 * run + 16 * part + i]! >> (2 * shift)) & 3;
            const isHigh = (source[block + 16 * part + i]! >> (4 * run + shift)) & 1;
            target[out++] = groupScale * (low - (isHigh ? 0 : 4));
          }
        }
  }
};

/** The eight 6-bit scales and minima that Q4_K and Q5_K pack into 12 bytes, as [scale 0 … 7, minimum 0 … 7]. */
function unpackSixBits(source: Uint8Array, at: number, into: Uint8Array): void {
  for (let i = 0; i < 4; i++) {
    into[i] = source[at + i]! & 63;
    into[8 + i] = source[at + 4 + i]! & 63;
    into[4 + i] = (source[at + 8 + i]! & 15) | ((source[at + i]! >> 6) << 4);
    into[12 + i] = (source[at + 8 + i]! >> 4) | ((source[at + 4 + i]! >> 6) << 4);
  }
}

/** 256 values in 8 groups of 32: scale f16, minimum f16, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles; 32 bytes hold two groups. */
export const widenQ4_K: Widen = (source, target, begin) => {
  let out = begin;
  const packed = new Uint8Array(16);
  for (let block = 0; block < source.length; block += 144) {
    const scale = half(u16(source, block));
    const minimum = half(u16(source, block + 2));
    unpackSixBits(source, block + 4, packed);
    for (let group = 0; group < 8; group++) {
      const groupScale = scale * packed[group]!;
      const groupMinimum = minimum * packed[8 + group]!;
      const codes = block + 16 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++)
        target[out++] = groupScale * ((source[codes + i]! >> shift) & 15) - groupMinimum;
    }
  }
};

/** As Q4_K with a fifth bit: 32 bytes behind the scales, bit `group` of byte i for value i of the group. */
export const widenQ5_K: Widen = (source, target, begin) => {
  let out = begin;
  const packed = new Uint8Array(16);
  for (let block = 0; block < source.length; block += 176) {
    const scale = half(u16(source, block));
    const minimum = half(u16(source, block + 2));
    unpackSixBits(source, block + 4, packed);
    for (let group = 0; group < 8; group++) {
      const groupScale = scale * packed[group]!;
      const groupMinimum = minimum * packed[8 + group]!;
      const codes = block + 48 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++) {
        const high = ((source[block + 16 + i]! >> group) & 1) << 4;
        target[out++] = groupScale * (((source[codes + i]! >> shift) & 15) | high) - groupMinimum;
      }
    }
  }
};

/**
 * 256 values in 16 groups of 16: 128 bytes of low nibbles, 64 bytes of upper 2-bit pairs, 16 signed scales, scale f16; code − 32. Each half of the block
 * has 128 values: 64 bytes of nibbles (low ones first) and 32 bytes of pairs.
 */
export const widenQ6_K: Widen = (source, target, begin) => {
  let out = begin;
  for (let block = 0; block < source.length; block += 210) {
    const scale = half(u16(source, block + 208));
    for (let part = 0; part < 8; part++) {
      const run = part >> 2;
      const quarter = part & 3;
      const low = block + 64 * run + 32 * (quarter & 1);
      const lowShift = quarter < 2 ? 0 : 4;
      const high = block + 128 + 32 * run;
      for (let i = 0; i < 32; i++) {
        const groupScale = scale * ((source[block + 192 + 2 * part + (i >> 4)]! << 24) >> 24);
        const code =
          ((source[low + i]! >> lowShift) & 15) | (((source[high + i]! >> (2 * quarter)) & 3) << 4);
        target[out++] = groupScale * (code - 32);
      }
    }
  }
};
