import { expect, test } from 'vitest';
import { z } from 'zod';
import { parseAs } from '../../engine/contract/error-payload.ts';
import { fieldInWords } from '../../engine/contract/field-names.ts';

test.each([
  ['perplexity', 'perplexity'],
  ['bytes', 'package, all files'],
  ['modelBytes', 'weight file'],
  ['cpu.model', 'CPU model'],
  ['followUp.quality.text', 'judged on'],
  ['followUp.other.text', 'follow-up other text'],
  ['embeddingBits', 'embedding bits'],
  ['availableMemoryBytes', 'available memory'],
  ['loadAverage.0', 'load average 0'],
  ['constructor', 'constructor'],
])('%s is called %s', (field, words) => {
  expect(fieldInWords(field)).toBe(words);
});

test('a field that may hold anything and is missing is named in plain words', () => {
  const schema = z.strictObject({ id: z.number(), input: z.unknown() });
  expect(() => parseAs(schema, { id: 1 }, 'request')).toThrow('request: input: is missing');
  expect(() => parseAs(schema, { id: 1 }, 'request')).not.toThrow(/nonoptional/);
});
