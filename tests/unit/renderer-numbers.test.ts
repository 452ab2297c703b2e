import { expect, test } from 'vitest';
import * as cli from '../../engine/cli/format.ts';
import { toCsv } from '../../renderer/src/charts/csv.ts';
import { metricText } from '../../renderer/src/format/metrics.ts';
import * as numbers from '../../renderer/src/format/numbers.ts';
import { parseLengths } from '../../renderer/src/screens/benchmark/lengths.ts';
import { flattenRecipe } from '../../renderer/src/screens/new-run/recipe-fields.ts';

/** Blanks that do not break are shown as plain ones here. */
const plain = (text: string) => text.replaceAll('\u00a0', ' ');

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [999.6, '1.00 kB'],
  [14_690_000, '14.7 MB'],
  [999_600, '1.00 MB'],
  [25_300_000_000, '25.3 GB'],
])('%d bytes are %s', (value, text) => {
  expect(plain(numbers.bytes(value))).toBe(text);
});

test.each([
  [0.28, '0.280 ms'],
  [9.02, '9.02 ms'],
  [840, '840 ms'],
  [999.7, '1.0 s'],
  [59_940, '59.9 s'],
  [59_960, '1 min 00 s'],
  [200_400, '3 min 20 s'],
  [7_500_000, '2 h 05 min'],
])('%d ms are %s', (value, text) => {
  expect(plain(numbers.duration(value))).toBe(text);
});

test.each([
  [9.2188, '9.22'],
  [13.375, '13.4'],
  [26_200, '26,200'],
  [0.01234, '0.0123'],
  [0, '0'],
  [9.9996, '10.0'],
  [0.00001234, '1.23e-5'],
])('%d has three significant digits as %s', (value, text) => {
  expect(numbers.significant(value)).toBe(text);
});

test('what is not known is a dash, never a zero or a blank', () => {
  for (const show of [numbers.bytes, numbers.duration, numbers.count, numbers.ratio, numbers.perplexity]) {
    expect(show(null)).toBe('–');
    expect(show(undefined)).toBe('–');
    expect(show(Number.NaN)).toBe('–');
    expect(show(Number.POSITIVE_INFINITY)).toBe('–');
  }
});

test.each([0, 999, 999.6, 14_690_000, 2e12])(
  '%d bytes and ms are the same in the terminal and in the studio',
  (value) => {
    expect(plain(numbers.bytes(value))).toBe(cli.formatBytes(value));
    expect(plain(numbers.duration(value / 1000))).toBe(cli.formatDuration(value / 1000));
    expect(plain(numbers.large(value))).toBe(cli.formatParameters(value));
  },
);

test('a metric has the unit that its name ends in', () => {
  expect(plain(metricText('peakRssBytes', 2e6))).toBe('2.00 MB');
  expect(plain(metricText('loadMs', 230))).toBe('230 ms');
  expect(plain(metricText('decodeTokensPerSecond', 1289.4))).toBe('1,289 tok/s');
  expect(metricText('topTokenAgreement', 0.7884)).toBe('78.8%');
});

test('lists of lengths are whole numbers from their minimum', () => {
  expect(parseLengths('128, 512', 1)).toEqual([128, 512]);
  expect(parseLengths(' 0;0 256 ', 0)).toEqual([0, 256]);
  for (const bad of ['', '0', '1.5', '-1', 'a', '1e9']) expect(parseLengths(bad, 1), bad).toBeNull();
});

test('CSV cells with separators, quotes and line ends are quoted', () => {
  expect(
    toCsv({
      columns: ['a', 'b,c'],
      rows: [
        ['x"y', 1.5],
        ['line\nend', null],
      ],
    }),
  ).toBe('a,"b,c"\r\n"x""y",1.5\r\n"line\nend",\r\n');
});

test('a recipe’s fields are named as `set` takes them', () => {
  const recipe = { name: 'r', activationBits: 8, blockSize: 128, transform: { kind: 'ltdb', epsilon: 0.85 } };
  expect(flattenRecipe(recipe)).toEqual([
    { key: 'blockSize', value: '128' },
    { key: 'transform.kind', value: 'ltdb' },
    { key: 'transform.epsilon', value: '0.85' },
  ]);
});

test.each([
  [1.2501, '1.26×', '1.251'],
  [1.25, '1.25×', '1.250'],
  [0.9964, '0.997×', '0.997'],
  [21.51, '21.6×', '22'],
  [123.4, '124×', '124'],
  [2, '2.00×', '2.000'],
  [1.00017, '1.001×', '1.001'],
  [1, '1.00×', '1.000'],
])(
  'a ratio of %d is written %s and, in the terminal, %s: never like a threshold below it',
  (value, page, terminal) => {
    expect(plain(numbers.ratio(value))).toBe(page);
    expect(cli.formatRatio(value)).toBe(terminal);
  },
);

test.each([
  [0.7499, '74.9%'],
  [0.75, '75.0%'],
  [0.57, '57.0%'],
  [0.66079, '66.0%'],
])('an agreement of %d is %s in page and terminal alike', (value, text) => {
  expect(plain(numbers.agreement(value))).toBe(text);
  expect(plain(metricText('topTokenAgreement', value))).toBe(text);
  expect(cli.formatAgreement(value)).toBe(text);
});

test.each([
  [0.05, '0.05'],
  [2.5, '2.5'],
  [4, '4'],
  [1e-8, '0.00000001'],
])('a setting of %d is %s, as it was typed', (value, text) => {
  expect(numbers.typed(value)).toBe(text);
  expect(cli.formatTyped(value)).toBe(text);
});

test.each([
  [200, 900, '< 1 s'],
  [20_400, 50_100, '20–51 s'],
  [40_000, 200_000, '< 4 min'],
  [130_000, 290_000, '2–5 min'],
  [180_000, 180_000, '3 min'],
  [5_400_000, 10_800_000, '1.5–3 h'],
  [7_190_000, 7_190_000, '1.9–2 h'],
])('from %d to %d ms is %s', (low, high, text) => {
  expect(plain(numbers.timeSpan({ low, high }))).toBe(text);
});
