import { DBellError } from '../contract/errors.ts';
import { isRecord } from './json.ts';
import { READ_CHUNK_BYTES } from './limits.ts';
import { type ProblemList, quote, show } from './problems.ts';
import { storedLayout } from './stored-types.ts';
import type { WeightLocation } from './weight-location.ts';

/**
 * Hugging Face folders of BitNet models (quantization_config with quant_method "bitnet"), as transformers' `bitlinear` and `autobitlinear` layers define
 * them:
 *
 * - packed: `X.weight` U8 `[out / 4, in]`, four ternary codes a byte. The bits 2k and 2k + 1 of packed row p hold row k · out/4 + p; the code is the value + 1.
 * - `X.weight_scale`, one number s for the tensor: `bitlinear` divides by it (W = code / s), `autobitlinear` multiplies (W = code · s).
 * - `autobitlinear` in mode `offline` may also hold unpacked codes as floats beside the scale.
 * - `autobitlinear` in mode `online` holds the float weights of training, of which only the sign and the mean magnitude count (`quantizeOnline`).
 */
export interface BitNetSettings {
  linearClass: 'bitlinear' | 'autobitlinear';
  mode: 'offline' | 'online';
  /** Modules that are ordinary linears. */
  unconverted: readonly string[];
}

const scaleSuffix = '.weight_scale';
/** transformers' lower bound of the mean magnitude in mode `online`. */
const smallestMean = Math.fround(1e-5);

/** Reads `quantization_config`; null with a problem where it asks for something else than is described above. */
export function readBitNetSettings(
  value: Readonly<Record<string, unknown>>,
  problems: ProblemList,
): BitNetSettings | null {
  const fail = (message: string) => {
    problems.error('unsupported-quantization', `config.json: quantization_config: ${message}`);
    return null;
  };
  const linearClass = value.linear_class ?? 'bitlinear';
  if (linearClass !== 'bitlinear' && linearClass !== 'autobitlinear')
    return fail(`linear_class ${show(linearClass)} is not supported; supported are bitlinear, autobitlinear`);
  const mode = value.quantization_mode ?? 'offline';
  if (mode !== 'offline' && mode !== 'online')
    return fail(`quantization_mode ${show(mode)} is not supported; supported are offline, online`);
  if (value.use_rms_norm === true)
    return fail('use_rms_norm is true: models with a norm inside of each linear are not supported');
  const unconverted = value.modules_to_not_convert ?? [];
  if (!Array.isArray(unconverted) || !unconverted.every((name) => typeof name === 'string'))
    return fail(`modules_to_not_convert ${show(unconverted)} is not a list of module names`);
  // In transformers only autobitlinear has the mode.
  return { linearClass, mode: linearClass === 'bitlinear' ? 'offline' : mode, unconverted };
}

/** `quantization_config` where it is BitNet's, else null. */
export function bitNetConfigOf(
  config: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> | null {
  const value = config.quantization_config;
  return isRecord(value) && value.quant_method === 'bitnet' ? value : null;
}

/**
 * Turns the stored tensors of a BitNet folder into weights by their usual names: packed weights get their true shape and scale, the scales disappear.
 * Problems are recorded.
 */
export function translateBitNet(
  stored: ReadonlyMap<string, WeightLocation>,
  settings: BitNetSettings,
  problems: ProblemList,
): Map<string, WeightLocation> {
  const weights = new Map<string, WeightLocation>();
  for (const [name, location] of stored) {
    if (name.endsWith(scaleSuffix)) {
      const weight = name.slice(0, -'_scale'.length);
      if (!stored.has(weight))
        problems.error('tensor-missing', `${quote(name)} is stored but ${quote(weight)} is not`);
      continue;
    }
    const scaleName = name.endsWith('.weight') ? `${name}_scale` : null;
    const scaleLocation = scaleName === null ? undefined : stored.get(scaleName);
    const isPacked = location.storedType === 'U8' && name.endsWith('.weight');
    if (scaleLocation === undefined) {
      if (isPacked)
        problems.error(
          'tensor-missing',
          `${quote(name)} holds packed ternary weights but ${quote(`${name}_scale`)} is missing`,
        );
      else weights.set(name, location);
      continue;
    }
    const stand = readScale(scaleName ?? '', scaleLocation, problems);
    if (stand === null) continue;
    const scale = settings.linearClass === 'bitlinear' ? Math.fround(1 / stand) : stand;
    if (!Number.isFinite(scale) || scale === 0) {
      problems.error(
        'weight-scale',
        `${quote(scaleName ?? '')} is ${stand}, whose inverse is no usable scale`,
      );
      continue;
    }
    if (!isPacked) {
      if (settings.linearClass === 'bitlinear')
        problems.error(
          'unsupported-quantization',
          `${quote(name)} is stored as ${location.storedType} with a weight_scale; bitlinear has packed U8 weights`,
        );
      else weights.set(name, { ...location, multiplier: scale });
      continue;
    }
    const [packedRows, columns] = location.shape;
    if (location.shape.length !== 2 || packedRows === undefined || columns === undefined) {
      problems.error(
        'tensor-shape',
        `${quote(name)}: packed ternary weights are [out / 4, in], this is [${location.shape.join(', ')}]`,
      );
      continue;
    }
    weights.set(name, {
      ...location,
      storedType: 'U8_TERNARY',
      shape: [4 * packedRows, columns],
      ternary: { scale },
    });
  }
  return weights;
}

function readScale(name: string, location: WeightLocation, problems: ProblemList): number | null {
  const elements = location.shape.reduce((product, size) => product * size, 1);
  if (elements !== 1 || !['F32', 'F16', 'BF16'].includes(location.storedType)) {
    problems.error(
      'weight-scale',
      `${quote(name)} is ${location.storedType} [${location.shape.join(', ')}]; one number of F32, F16 or BF16 was expected`,
    );
    return null;
  }
  const bytes = new Uint8Array(location.bytes);
  const value = new Float32Array(1);
  location.source.readInto(location.position, bytes);
  storedLayout(location.storedType)?.widen(bytes, value, 0);
  const scale = value[0]!;
  if (scale > 0 && scale < Number.POSITIVE_INFINITY) return scale;
  problems.error('weight-scale', `${quote(name)} is ${scale}; it must be a finite number above 0`);
  return null;
}

/** Marks the linears of a model in mode `online`; others stay as they are. */
export function markOnline(
  weights: Map<string, WeightLocation>,
  linears: readonly string[],
  settings: BitNetSettings,
): void {
  if (settings.mode !== 'online') return;
  for (const module of linears) {
    const location = weights.get(`${module}.weight`);
    if (location !== undefined && !isUnconverted(module, settings.unconverted))
      weights.set(`${module}.weight`, { ...location, isOnline: true });
  }
}

/** A name of the list means that module, those inside of it and those whose name ends with it. */
function isUnconverted(module: string, unconverted: readonly string[]): boolean {
  return unconverted.some(
    (name) => module === name || module.startsWith(`${name}.`) || module.endsWith(`.${name}`),
  );
}

/**
 * Row `row` of a packed ternary weight as codes 0, 1, 2.
 *
 * @param packed scratch, `[in]`
 * @throws DBellError `invalid-model` for the code 3, which stands for nothing
 */
export function unpackTernaryRow(
  name: string,
  location: WeightLocation,
  row: number,
  packed: Uint8Array,
  into: Uint8Array,
): void {
  const [rows = 0, columns = 0] = location.shape;
  const packedRows = rows / 4;
  location.source.readInto(location.position + (row % packedRows) * columns, packed);
  const shift = 2 * Math.floor(row / packedRows);
  for (let column = 0; column < columns; column++) {
    const code = (packed[column]! >> shift) & 3;
    if (code === 3)
      throw new DBellError(
        'invalid-model',
        `${location.source.name}: tensor ${quote(name)} holds the code 3 at [${row}, ${column}]; ternary codes are 0, 1 and 2; the file is damaged`,
      );
    into[column] = code;
  }
}

/** Values of rows [begin, begin + rows) of a packed ternary weight. */
export function readTernaryRows(
  name: string,
  location: WeightLocation,
  begin: number,
  rows: number,
  target: Float32Array,
): void {
  const columns = location.shape[1] ?? 0;
  const scale = location.ternary?.scale ?? 1;
  const packed = new Uint8Array(columns);
  const codes = new Uint8Array(columns);
  for (let row = 0; row < rows; row++) {
    unpackTernaryRow(name, location, begin + row, packed, codes);
    for (let column = 0; column < columns; column++)
      target[row * columns + column] = scale * (codes[column]! - 1);
  }
}

/**
 * The scale of a weight in mode `online`: 1 / mean |W|, in float32, the mean summed in double precision.
 *
 * @param readRows gives rows [begin, begin + count), flattened
 */
export function onlineScale(
  location: WeightLocation,
  readRows: (begin: number, count: number) => Float32Array,
): number {
  const [rows = 0, columns = 0] = location.shape;
  const step = Math.max(1, Math.floor(READ_CHUNK_BYTES / (4 * Math.max(1, columns))));
  let sum = 0;
  for (let begin = 0; begin < rows; begin += step)
    for (const value of readRows(begin, Math.min(step, rows - begin))) sum += Math.abs(value);
  return Math.fround(1 / Math.max(smallestMean, Math.fround(sum / (rows * columns))));
}

/** W ← clamp(round(W · scale), −1, 1) / scale in float32, ties to even: the weight that mode `online` computes with. */
export function quantizeOnline(values: Float32Array, scale: number): void {
  const level = Math.fround(1 / scale);
  for (let i = 0; i < values.length; i++) {
    const scaled = Math.fround(values[i]! * scale);
    // Rounding to −1, 0 or 1 with ties to even: ±0.5 becomes 0.
    values[i] = scaled > 0.5 ? level : scaled < -0.5 ? -level : 0;
  }
}
