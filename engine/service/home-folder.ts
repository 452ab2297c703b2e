import os from 'node:os';
import { z } from 'zod';
import { pathSchema } from '../contract/common.ts';

/** `~` and what lies below it as shells write it, on Windows with either bar. Names such as `~backup` are names. */
const belowHome = process.platform === 'win32' ? /^~(?=[\\/]|$)/ : /^~(?=\/|$)/;

/** A path with `~` for the person's own folder, written out. */
export function expandHome(path: string): string {
  return path.replace(belowHome, () => os.homedir());
}

/**
 * An input of a call in which every path is written out: a page has no shell that would. Which fields are paths the schema says; what was parsed with it keeps its shape.
 */
export function withHomeExpanded(schema: z.core.$ZodType, value: unknown): unknown {
  if (schema === pathSchema) return typeof value === 'string' ? expandHome(value) : value;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return withHomeExpanded(schema.def.innerType, value);
  if (schema instanceof z.ZodUnion)
    return schema.options.reduce((expanded, option) => withHomeExpanded(option, expanded), value);
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((entry) => withHomeExpanded(schema.element, entry));
  if (schema instanceof z.ZodObject && typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => {
        const of: z.core.$ZodType | undefined = Object.hasOwn(schema.shape, name)
          ? schema.shape[name]
          : undefined;
        return [name, of ? withHomeExpanded(of, field) : field];
      }),
    );
  return value;
}
