import type { JsonObject } from './common.ts';

/** Members of nested objects by their path, joined with dots; arrays are values. */
export function flatten(
  object: JsonObject,
  prefix = '',
  into = new Map<string, JsonObject[string]>(),
): Map<string, JsonObject[string]> {
  for (const [key, value] of Object.entries(object)) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      flatten(value, `${prefix}${key}.`, into);
    else into.set(prefix + key, value);
  }
  return into;
}
