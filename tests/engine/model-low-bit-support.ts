import type { SeededRandom } from '../../engine/model/seeded-random.ts';
import { handmadeGguf, makeGguf } from './model-fixtures.ts';

/** Numbers and block sizes of ggml's types of few levels, written down here a second time. */
export const lowBitTypes = {
  Q1_0: { number: 41, elements: 128, bytes: 18, scale: 0 },
  Q2_0: { number: 42, elements: 64, bytes: 18, scale: 0 },
  Q2_0_G128: { number: 42, elements: 128, bytes: 34, scale: 0 },
  TQ1_0: { number: 34, elements: 256, bytes: 54, scale: 52 },
  TQ2_0: { number: 35, elements: 256, bytes: 66, scale: 64 },
} as const;
export type LowBitTypeName = keyof typeof lowBitTypes;

/** fp16 bits of ordinary scales, both signs. */
const scaleBits = [0x2e66, 0x2a3d, 0x1c00, 0xae66, 0x3555, 0x2fff];

/** Random blocks; ternary types without the code 3 unless `allCodes`. */
export function randomBlocks(
  type: LowBitTypeName,
  elements: number,
  random: SeededRandom,
  allCodes = false,
): Uint8Array {
  const { elements: perBlock, bytes, scale } = lowBitTypes[type];
  const data = new Uint8Array((elements / perBlock) * bytes);
  const isTwoBit = type === 'TQ2_0' || type.startsWith('Q2_0');
  for (let i = 0; i < data.length; i++) {
    let byte = random.nextUint32() & 255;
    if (isTwoBit && !allCodes)
      for (let shift = 0; shift < 8; shift += 2) if (((byte >> shift) & 3) === 3) byte &= ~(2 << shift);
    data[i] = byte;
  }
  for (let at = 0; at < data.length; at += bytes) {
    const bits = scaleBits[random.nextUint32() % scaleBits.length]!;
    data[at + scale] = bits & 255;
    data[at + scale + 1] = bits >> 8;
  }
  return data;
}

/** Bytes of a GGUF of a LLaMA of one layer whose linears have the type: hidden 256, 4 heads of 64 of which 2 have keys and values, feed-forward 512. */
export function lowBitGguf(
  type: LowBitTypeName,
  random: SeededRandom,
  edit: (tensors: ReturnType<typeof handmadeGguf>['tensors']) => void = () => {},
  options: { allCodes?: boolean; trailing?: number } = {},
): Uint8Array {
  const { pairs } = handmadeGguf();
  const sizes: Record<string, number> = {
    'llama.embedding_length': 256,
    'llama.feed_forward_length': 512,
    'llama.attention.head_count': 4,
    'llama.attention.head_count_kv': 2,
  };
  const shapes: [string, number[], linear: boolean][] = [
    ['token_embd', [256, 4], false],
    ['output_norm', [256], false],
    ['blk.0.attn_norm', [256], false],
    ['blk.0.attn_q', [256, 256], true],
    ['blk.0.attn_k', [256, 128], true],
    ['blk.0.attn_v', [256, 128], true],
    ['blk.0.attn_output', [256, 256], true],
    ['blk.0.ffn_norm', [256], false],
    ['blk.0.ffn_gate', [256, 512], true],
    ['blk.0.ffn_up', [256, 512], true],
    ['blk.0.ffn_down', [512, 256], true],
  ];
  const tensors = shapes.map(([name, dimensions, linear]) => {
    const elements = dimensions.reduce((a, b) => a * b);
    const floats = Float32Array.from({ length: elements }, () => 1 + (random.nextUint32() % 100) / 100);
    return {
      name: `${name}.weight`,
      dimensions,
      type: linear ? lowBitTypes[type].number : 0,
      bytes: linear ? randomBlocks(type, elements, random, options.allCodes) : new Uint8Array(floats.buffer),
    };
  });
  edit(tensors);
  const sized = pairs.map(([key, kind, value]): (typeof pairs)[number] => [
    key,
    kind,
    sizes[String(key)] ?? value,
  ]);
  return makeGguf(sized, tensors, { trailing: options.trailing ?? 0 });
}
