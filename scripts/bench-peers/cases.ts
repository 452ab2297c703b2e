/** What the comparison runs, as data. */
export interface PeerCase {
  /** Key of the result. */
  key: string;
  title: string;
  shape: string;
  /** `--shape-bits`. */
  bits: '1' | 'ternary' | '2' | '4';
  /** As `--peers` takes them; the first is the one that the key's ratio is against. */
  peers: string[];
  /** Prompt length that is measured. */
  promptTokens: number;
  /** Least ratios that are aimed at. */
  aims: { decode: number | null; prefill: number | null; roofline: number | null };
  /** Instruction set that both sides are held to; absent: the fastest of this processor. */
  instructionSet?: 'avx2';
}

const tiny = { shape: 'tiny', promptTokens: 32 };
const tinyLlama = { shape: 'tinyllama-1.1b', promptTokens: 128 };

export const cases: readonly PeerCase[] = [
  {
    key: 'tinyllama1bit',
    title: 'TinyLlama-1.1B shape, everything 1 bit',
    ...tinyLlama,
    bits: '1',
    peers: ['llama.cpp:Q1_0'],
    aims: { decode: 3, prefill: 4, roofline: 0.6 },
  },
  {
    key: 'tinyllama2bit',
    title: 'TinyLlama-1.1B shape, everything 2 bits',
    ...tinyLlama,
    bits: '2',
    peers: ['llama.cpp:TQ2_0'],
    aims: { decode: 1.6, prefill: 2, roofline: null },
  },
  {
    key: 'tinyllama4bit',
    title: 'TinyLlama-1.1B shape, everything 4 bits',
    ...tinyLlama,
    bits: '4',
    peers: ['llama.cpp:Q4_0', 'onnxruntime:int4', 'onnxruntime:int8', 'onnxruntime:float32'],
    aims: { decode: 1.3, prefill: 1.3, roofline: null },
  },
  {
    key: 'smollm1bit',
    title: 'SmolLM2-135M shape, everything 1 bit',
    ...{ shape: 'smollm2-135m', promptTokens: 512 },
    bits: '1',
    peers: ['llama.cpp:Q1_0', 'onnxruntime:int4'],
    aims: { decode: 2.5, prefill: 2.5, roofline: null },
  },
  {
    key: 'tinyllama1bitAvx2',
    title: 'TinyLlama-1.1B shape, everything 1 bit, both held to AVX2',
    ...tinyLlama,
    bits: '1',
    peers: ['llama.cpp:Q1_0'],
    aims: { decode: 2, prefill: null, roofline: null },
    instructionSet: 'avx2',
  },
];

/** The same way with a model of a second; its numbers mean nothing. */
export const quickCases: readonly PeerCase[] = [
  {
    ...cases[0]!,
    title: 'tiny shape, everything 1 bit',
    ...tiny,
    peers: ['llama.cpp:Q1_0', 'onnxruntime:int4'],
  },
  { ...cases[3]!, title: 'tiny shape, everything 1 bit, again', ...tiny, peers: ['llama.cpp:Q1_0'] },
];
