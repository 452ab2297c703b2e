import type { Architecture, Position } from '../model/architecture.ts';

/** Cosines and sines of a rotary embedding, row-major `[length, rotaryDimensions / 2]`. */
export interface RotaryTables {
  cosine: Float32Array;
  sine: Float32Array;
  length: number;
  /** Values a row: rotaryDimensions / 2. */
  width: number;
}

type RopePosition = Extract<Position, { kind: 'rope' }>;

/**
 * Inverse frequencies `[rotaryDimensions / 2]`: theta^(−2i / rotaryDimensions), then the scaling for long contexts (RoPE, arXiv 2104.09864;
 * `llama3` as published with Llama 3.1: wavelengths beyond the old context are stretched by `factor`, short ones stay, those between are
 * blended linearly in old context / wavelength).
 *
 * Each step is rounded to float32, since models are trained and published with tables computed so; at position 2000 the difference is
 * 1e-4 radians.
 */
export function inverseFrequencies(position: RopePosition): Float32Array {
  const half = position.rotaryDimensions / 2;
  const frequencies = new Float32Array(half);
  const round = Math.fround;
  for (let index = 0; index < half; index++) {
    const exponent = round((2 * index) / position.rotaryDimensions);
    const frequency = round(1 / round(position.theta ** exponent));
    frequencies[index] = scaledFrequency(frequency, position);
  }
  return frequencies;
}

function scaledFrequency(frequency: number, position: RopePosition): number {
  const { scaling } = position;
  const round = Math.fround;
  if (scaling.kind === 'none') return frequency;
  if (scaling.kind === 'linear') return round(frequency / scaling.factor);
  const wavelength = round((2 * Math.PI) / frequency);
  const { originalContextLength, lowFrequencyFactor, highFrequencyFactor, factor } = scaling;
  if (wavelength < originalContextLength / highFrequencyFactor) return frequency;
  if (wavelength > originalContextLength / lowFrequencyFactor) return round(frequency / factor);
  const smooth = round(
    (originalContextLength / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor),
  );
  return round(round(round((1 - smooth) * frequency) / factor) + round(smooth * frequency));
}

/** Tables for positions 0 … length − 1, or null for a model without rotary embedding. */
export function rotaryTables(architecture: Architecture, length: number): RotaryTables | null {
  if (architecture.position.kind !== 'rope') return null;
  const frequencies = inverseFrequencies(architecture.position);
  const width = frequencies.length;
  const cosine = new Float32Array(length * width);
  const sine = new Float32Array(length * width);
  for (let position = 0; position < length; position++) {
    for (let index = 0; index < width; index++) {
      const angle = Math.fround(position * frequencies[index]!);
      cosine[position * width + index] = Math.cos(angle);
      sine[position * width + index] = Math.sin(angle);
    }
  }
  return { cosine, sine, length, width };
}
