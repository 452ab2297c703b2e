import type { RopeScaling } from './architecture.ts';
import type { ConfigReader } from './config-reader.ts';
import { isRecord } from './json.ts';
import { MAX_CONTEXT_LENGTH } from './limits.ts';
import { show } from './problems.ts';

/** The base of LLaMA-1 and 2, whose configs were written before the field existed. */
const LLAMA_DEFAULT_THETA = 10_000;

const supported = 'supported are default, linear and llama3';

/**
 * Base and scaling of the rotary embedding under all spellings that occur: `rope_theta` with `rope_scaling` (`type` or `rope_type`), and
 * `rope_parameters` which holds the base too (transformers 5). Kinds that change more than the frequencies named in RopeScaling are refused by
 * name. `defaultTheta` says whether configs of the family may lack the base; configs of newer kinds never may, since a wrong base is silent and
 * only shows as a loss that grows with the position.
 */
export function readRope(
  reader: ConfigReader,
  family: { mayLackTheta: boolean },
): { theta: number; scaling: RopeScaling } {
  const nested = readObject(reader, 'rope_parameters');
  const scalingObject = readObject(reader, 'rope_scaling');
  if (nested !== null && Object.values(nested).some(isRecord)) {
    reader.error('unsupported-rope', 'rope_parameters differ by layer type, which is not supported');
    return { theta: 1, scaling: { kind: 'none' } };
  }
  const partial = reader.raw('partial_rotary_factor') ?? nested?.partial_rotary_factor ?? 1;
  if (partial !== 1)
    reader.error(
      'unsupported-rope',
      `partial_rotary_factor is ${show(partial)}; only 1 (all dimensions of a head rotate) is supported`,
    );
  const fromNested = nested === null ? null : readScaling(reader, nested, 'rope_parameters');
  const fromScaling = scalingObject === null ? null : readScaling(reader, scalingObject, 'rope_scaling');
  if (fromNested !== null && fromScaling !== null && !sameScaling(fromNested, fromScaling))
    reader.error(
      'config-contradiction',
      `rope_parameters (${fromNested.kind}) and rope_scaling (${fromScaling.kind}) contradict each other`,
    );
  const scaling = fromNested ?? fromScaling ?? { kind: 'none' };
  return { theta: readTheta(reader, nested, scalingObject, scaling, family.mayLackTheta), scaling };
}

function readObject(reader: ConfigReader, key: string): Record<string, unknown> | null {
  const value = reader.raw(key);
  if (value === undefined) return null;
  if (!isRecord(value)) {
    reader.error('config-range', `${key} is ${show(value)}; it must be an object or null`);
    return null;
  }
  return value;
}

function readTheta(
  reader: ConfigReader,
  nested: Record<string, unknown> | null,
  scalingObject: Record<string, unknown> | null,
  scaling: RopeScaling,
  mayLackTheta: boolean,
): number {
  const spellings: [string, unknown][] = [
    ['rope_parameters.rope_theta', nested?.rope_theta],
    ['rope_scaling.rope_theta', scalingObject?.rope_theta],
    ['rope_theta', reader.raw('rope_theta')],
  ];
  const given = spellings.filter(([, value]) => value !== undefined && value !== null);
  for (const [key, value] of given)
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
      reader.error('config-range', `${key} is ${show(value)}; it must be a number above 0`);
      return 1;
    }
  const first = given[0];
  if (first === undefined) {
    const version = reader.raw('transformers_version');
    const newKind =
      nested !== null ||
      scaling.kind === 'llama3' ||
      (typeof version === 'string' && /^[5-9]|^\d\d/.test(version));
    if (newKind || !mayLackTheta) {
      reader.error('config-missing', 'rope_theta is missing and models of this kind use different values');
      return 1;
    }
    reader.warning(
      'config-default',
      `rope_theta is missing; ${LLAMA_DEFAULT_THETA} is used, as models from before this field do`,
    );
    return LLAMA_DEFAULT_THETA;
  }
  const other = given.find(([, value]) => value !== first[1]);
  if (other !== undefined)
    reader.error(
      'config-contradiction',
      `${first[0]} is ${show(first[1])} but ${other[0]} is ${show(other[1])}`,
    );
  return first[1] as number;
}

function readScaling(reader: ConfigReader, object: Record<string, unknown>, where: string): RopeScaling {
  const none: RopeScaling = { kind: 'none' };
  const kind = object.rope_type ?? object.type;
  if (kind === undefined || kind === null) {
    // transformers 5 may write rope_parameters with the base alone, which means no scaling.
    if (Object.keys(object).every((key) => key === 'rope_theta' || key === 'partial_rotary_factor'))
      return none;
    reader.error('config-missing', `${where} names no rope_type`);
    return none;
  }
  if (object.rope_type != null && object.type != null && object.rope_type !== object.type)
    reader.error(
      'config-contradiction',
      `${where}.rope_type is ${show(object.rope_type)} but ${where}.type is ${show(object.type)}`,
    );
  const number = (key: string, low: number, high: number): number => {
    const value = object[key];
    if (typeof value === 'number' && Number.isFinite(value) && value >= low && value <= high) return value;
    reader.error(
      value === undefined || value === null ? 'config-missing' : 'config-range',
      value === undefined || value === null
        ? `${where}.${key} is missing for rope type ${show(kind)}`
        : `${where}.${key} is ${show(value)}; it must be a number from ${low} to ${high}`,
    );
    return low;
  };
  switch (kind) {
    case 'default':
      return none;
    case 'linear':
      return { kind: 'linear', factor: number('factor', 1, 1e6) };
    case 'llama3': {
      const scaling = {
        kind: 'llama3' as const,
        factor: number('factor', 1, 1e6),
        lowFrequencyFactor: number('low_freq_factor', 1e-6, 1e6),
        highFrequencyFactor: number('high_freq_factor', 1e-6, 1e6),
        originalContextLength: number('original_max_position_embeddings', 1, MAX_CONTEXT_LENGTH),
      };
      // Equal factors would divide by zero in the blend between the two.
      if (!reader.failed && scaling.highFrequencyFactor <= scaling.lowFrequencyFactor)
        reader.error(
          'config-range',
          `${where}.high_freq_factor ${scaling.highFrequencyFactor} must be above low_freq_factor ${scaling.lowFrequencyFactor}`,
        );
      return scaling;
    }
    default:
      reader.error(
        'unsupported-rope',
        `${where} has type ${show(kind)}, which is not supported; ${supported}`,
      );
      return none;
  }
}

function sameScaling(a: RopeScaling, b: RopeScaling): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
