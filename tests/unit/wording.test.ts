import { expect, test } from 'vitest';
import { z } from 'zod';
import { repositoryNameSchema, revisionSchema } from '../../engine/contract/hub.ts';
import { issueInWords } from '../../engine/contract/wording.ts';

const wordsFor = (schema: z.ZodType, value: unknown) =>
  schema.safeParse(value, { error: issueInWords }).error?.issues[0]?.message;

test('a text of the wrong form is told in plain words', () => {
  expect(wordsFor(z.iso.datetime(), 'not a date')).toBe(
    'expected a date with its time, such as 2026-01-02T03:04:05.000Z, got "not a date"',
  );
  expect(wordsFor(z.uuid(), 'x')).toBe('expected an identifier of 32 hexadecimal digits in groups, got "x"');
});

test('what a schema says of itself comes first', () => {
  expect(wordsFor(repositoryNameSchema, '../x')).toContain('must be the name of a repository');
  expect(wordsFor(revisionSchema, '../x')).toBe('must be a branch, tag or commit');
});
