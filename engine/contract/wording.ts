import type { z } from 'zod';

/** Values of a list that a message names; more would hide the rest of it. */
const namedValues = 20;

/**
 * What a schema refuses, in this program's words; messages that schemas bring themselves come before these. For `safeParse(value, { error: issueInWords })`.
 * Undefined leaves the library's own words for what is not foreseen here.
 */
export function issueInWords(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      // A field that may hold anything, but must be there.
      if (issue.expected === 'nonoptional') return 'is missing';
      return issue.input === undefined
        ? `is missing; expected ${typeInWords(issue.expected)}`
        : `expected ${typeInWords(issue.expected)}, got ${shown(issue.input)}`;
    case 'invalid_value':
      return issue.input === undefined
        ? `is missing; expected ${oneOf(issue.values)}`
        : `expected ${oneOf(issue.values)}, got ${shown(issue.input)}`;
    case 'too_small':
      return `must ${sizeInWords(issue.origin, issue.inclusive ? 'at least' : 'more than', issue.minimum)}, got ${sized(issue.input)}`;
    case 'too_big':
      return `must ${sizeInWords(issue.origin, issue.inclusive ? 'at most' : 'less than', issue.maximum)}, got ${sized(issue.input)}`;
    case 'invalid_format':
      return formats[issue.format] && `expected ${formats[issue.format]}, got ${shown(issue.input)}`;
    case 'unrecognized_keys':
      return `has fields that are not known here: ${issue.keys.join(', ')}`;
    case 'invalid_union':
      if (issue.input === undefined) return 'is missing';
      if (Array.isArray(issue.options) && issue.options.length > 0)
        return `expected ${oneOf(issue.options)}, got ${shown(discriminated(issue))}`;
      return literalsOf(issue.errors).length > 0
        ? `expected ${oneOf(literalsOf(issue.errors))}, got ${shown(issue.input)}`
        : `has none of the forms that are possible here: ${shown(issue.input)}`;
    default:
      return undefined;
  }
}

/** The values of a union whose forms are single values; empty for any other. */
function literalsOf(errors: readonly (readonly z.core.$ZodIssue[])[]): unknown[] {
  const values = errors.map((issues) => {
    const [issue] = issues;
    return issue?.code === 'invalid_value' && issue.path.length === 0 ? issue.values : null;
  });
  return values.every((list) => list !== null) ? values.flat() : [];
}

/** The value by which the forms of a union are told apart. */
function discriminated({ input, discriminator }: { input?: unknown; discriminator?: unknown }): unknown {
  return typeof input === 'object' && input !== null && typeof discriminator === 'string'
    ? Reflect.get(input, discriminator)
    : input;
}

const types: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  never: 'nothing',
  null: 'null',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a text',
};

/** Forms of texts by the schema library's names; one with a pattern brings its own message. */
const formats: Readonly<Record<string, string>> = {
  datetime: 'a date with its time, such as 2026-01-02T03:04:05.000Z',
  uuid: 'an identifier of 32 hexadecimal digits in groups',
  guid: 'an identifier of 32 hexadecimal digits in groups',
  url: 'an address',
};

function typeInWords(type: string): string {
  return types[type] ?? type;
}

function oneOf(values: readonly unknown[]): string {
  const texts = values.slice(0, namedValues).map(String);
  const more = values.length > namedValues ? ` and ${values.length - namedValues} more` : '';
  return values.length === 1 ? texts[0]! : `one of ${texts.join(', ')}${more}`;
}

function sizeInWords(origin: string, bound: string, limit: number | bigint): string {
  if (origin === 'string') return `have ${bound} ${limit} characters`;
  if (origin === 'array' || origin === 'set') return `have ${bound} ${limit} entries`;
  return `be ${bound} ${limit}`;
}

function sized(input: unknown): string {
  return typeof input === 'string' || Array.isArray(input) ? String(input.length) : shown(input);
}

/** A value in a message: short, and on one line. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
