import type { JsonObject } from '../../../engine/contract/common.ts';
import { isFigure } from '../../../engine/contract/field-names.ts';
import { strings } from '../strings/index.ts';
import { metricText } from './metrics.ts';
import { typed } from './numbers.ts';
import { textTitle } from './texts.ts';

type Json = JsonObject[string];

/** A setting or condition as a person reads it. */
export function plainText(field: string, value: Json): string {
  if (value === null) return '–';
  if (typeof value === 'boolean') return value ? strings.compare.yes : strings.compare.no;
  if (typeof value === 'number')
    return isFigure(field) || /(bytes|Ms|PerSecond)$/i.test(field) ? metricText(field, value) : typed(value);
  if (typeof value === 'string') return textTitle(value);
  if (Array.isArray(value) && value.length === 0) return '–';
  return Array.isArray(value) && value.every((each) => typeof each !== 'object')
    ? value.join(', ')
    : JSON.stringify(value);
}
