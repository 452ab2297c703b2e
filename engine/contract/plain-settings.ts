import { z } from 'zod';
import { type JsonObject, settingSchema, textSourceSchema } from './common.ts';
import { type Sampling, samplingSchema } from './generation.ts';

/**
 * What was asked for, for people: a text is its name (`bundled:NAME`) or its path, changed fields of a recipe are written as they are typed. Everything else stays as
 * it is, in its place.
 */
export function plainSettings(settings: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, plainValue(value)]));
}

const withoutText = z.object({ quantize: z.object({ calibration: z.null() }) });
const ofCalibration = new Set(['calibration', 'windows', 'context', 'seed']);

/** A run's settings for people. Those of a calibration that its recipe did not need are left out: no text was looked at. */
export function runSettings({
  settings,
  results,
}: {
  settings: JsonObject;
  results: JsonObject;
}): JsonObject {
  const plain = plainSettings(settings);
  if (!withoutText.safeParse(results).success) return plain;
  return Object.fromEntries(Object.entries(plain).filter(([name]) => !ofCalibration.has(name)));
}

function plainValue(value: JsonObject[string]): JsonObject[string] {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const ways = value.map((each) => samplingSchema.safeParse(each).data);
    if (value.length > 0 && ways.every((way) => way !== undefined))
      return ways.map(samplingInWords).join('; ');
    const changed = value.map((each) => settingSchema.safeParse(each).data);
    return value.length > 0 && changed.every((each) => each !== undefined)
      ? changed.map(({ key, value: text }) => `${key}=${text}`).join(', ')
      : value;
  }
  const text = textSourceSchema.safeParse(value).data;
  if (text !== undefined) return 'path' in text ? text.path : `bundled:${text.bundled}`;
  return plainSettings(value);
}

function samplingInWords(way: Sampling): string {
  if (way.kind === 'greedy') return 'greedy';
  const { kind: _, ...rest } = way;
  return Object.entries(rest)
    .map(([name, value]) => `${name === 'topP' ? 'top-p' : name} ${value}`)
    .join(', ');
}
