import { expect, test } from 'vitest';
import {
  formatBytes,
  formatDuration,
  formatParameters,
  formatPerplexity,
  significant,
} from '../../engine/cli/format.ts';
import { pairs, table } from '../../engine/cli/table.ts';

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [1024, '1.02 kB'],
  [14 * 1024 * 1024, '14.7 MB'],
  [999_600, '1.00 MB'],
  [1.5e9, '1.50 GB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [0.42, '0.420 ms'],
  [850, '850 ms'],
  [1000, '1.0 s'],
  [59_949, '59.9 s'],
  [59_990, '1 min 00 s'],
  [247_000, '4 min 07 s'],
  [3_599_800, '1 h 00 min'],
  [7_500_000, '2 h 05 min'],
])('%d milliseconds are %s', (durationMs, text) => expect(formatDuration(durationMs)).toBe(text));

test.each([
  [0, 3, '0'],
  [9.21884, 5, '9.2188'],
  [1_500_000, 3, '1,500,000'],
  [0.03126, 2, '0.031'],
  [0.0000012, 2, '1.2e-6'],
  [Number.NaN, 3, 'NaN'],
])('%d with %d figures is %s', (value, digits, text) => expect(significant(value, digits)).toBe(text));

test('a perplexity comes with its tokens and context', () => {
  expect(formatPerplexity({ perplexity: 9.21884, tokens: 32_704, context: 512 })).toBe(
    '9.2188 (32,704 tokens, context 512)',
  );
  expect(formatPerplexity({ perplexity: null, tokens: 511, context: 512 })).toBe(
    'not finite (511 tokens, context 512)',
  );
});

test('parameters are shortened', () => {
  expect([7_344_384, 1.1e9, 260_000, 12].map((value) => formatParameters(value))).toEqual([
    '7.34 M',
    '1.10 B',
    '260 k',
    '12',
  ]);
});

test('columns are aligned and long cells are cut', () => {
  const text = table(
    [
      { title: 'NAME', maximumWidth: 6 },
      { title: 'SIZE', align: 'right' },
    ],
    [
      ['short', '1'],
      ['much too long', '1,000'],
    ],
  );
  expect(text).toBe('NAME     SIZE\nshort       1\nmuch …  1,000');
});

test('a name of several lines stays in its row', () => {
  expect(table([{ title: 'A' }, { title: 'B' }], [['new\nli\tne', 'b']])).toBe('A          B\nnew li ne  b');
});

test('pairs leave out what is unknown and indent what follows', () => {
  expect(
    pairs([
      ['a', '1\n2'],
      ['long', null],
      ['bc', '3'],
    ]),
  ).toBe('a   1\n    2\nbc  3');
});
