import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { pathSchema } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';

/** `~` and what lies below it as shells write it, on Windows with either bar. Names such as `~backup` are names. */
const belowHome = process.platform === 'win32' ? /^~(?=[\\/]|$)/ : /^~(?=\/|$)/;

/**
 * The person's own folder; null where the system names none, as in containers whose user has no account. An empty HOME counts as none at all: below it every path would begin at the
 * root or the current folder.
 */
export function personFolder(): string | null {
  for (const find of [os.homedir, () => os.userInfo().homedir]) {
    try {
      const folder = find();
      if (path.isAbsolute(folder)) return folder;
    } catch {
      // No HOME, or no account.
    }
  }
  return null;
}

/** A path with `~` for the person's own folder, written out. Throws DBellError `invalid-input` where that folder is not known. */
export function expandHome(typed: string): string {
  return typed.replace(belowHome, () => {
    const folder = personFolder();
    if (folder === null)
      throw new DBellError(
        'invalid-input',
        `${typed}: "~" is your own folder, which this system does not name (HOME is not set); write the path out`,
      );
    return folder;
  });
}

/** An input of a call in which every path is written out: a page has no shell that would. */
export function withHomeExpanded(schema: z.core.$ZodType, value: unknown): unknown {
  return withPathsChanged(schema, value, expandHome);
}

/**
 * An input of a call with every path in it as `change` makes it. Which fields are paths the schema says; what was parsed with it keeps its shape.
 */
export function withPathsChanged(
  schema: z.core.$ZodType,
  value: unknown,
  change: (path: string) => string,
): unknown {
  if (schema === pathSchema) return typeof value === 'string' ? change(value) : value;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return withPathsChanged(schema.def.innerType, value, change);
  if (schema instanceof z.ZodUnion)
    return schema.options.reduce((changed, option) => withPathsChanged(option, changed, change), value);
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((entry) => withPathsChanged(schema.element, entry, change));
  if (schema instanceof z.ZodObject && typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => {
        const of: z.core.$ZodType | undefined = Object.hasOwn(schema.shape, name)
          ? schema.shape[name]
          : undefined;
        return [name, of ? withPathsChanged(of, field, change) : field];
      }),
    );
  return value;
}
