import { describe, expect, test } from 'vitest';
import { addGramOutputs, gramPanels, PanelGramAccumulator } from '../../engine/float/gram.ts';
import { cachedMask, causalMask, maskedScore } from '../../engine/float/graphs/attention.ts';
import { addColumnAbsMax, addFakeQuantization } from '../../engine/float/graphs/parts.ts';
import { GraphBuilder } from '../../engine/float/onnx/graph-builder.ts';
import { inverseFrequencies } from '../../engine/float/rotary.ts';
import { GraphSession } from '../../engine/float/session.ts';
import { fakeQuantizeRow, toMatrix } from '../reference/float-block.ts';
import { randomNumbers, relativeMaximumError } from './float-tiny-model.ts';

async function runOnce(
  build: (graph: GraphBuilder, x: string) => void,
  data: Float32Array,
  shape: [number, number],
): Promise<Record<string, Float32Array>> {
  const graph = new GraphBuilder('part');
  build(graph, graph.input('x', 'float32', shape));
  const session = await GraphSession.create(graph.finish(), 'a part', 2);
  try {
    return await session.run({ x: { data, shape } });
  } finally {
    await session.close();
  }
}

describe('activation quantization', () => {
  const random = randomNumbers(5);
  const columns = 37;
  const rows: number[][] = [
    ...Array.from({ length: 40 }, () => Array.from({ length: columns }, () => 3 * random())),
    new Array(columns).fill(0),
    new Array(columns).fill(-0),
    // Exact halves: 127 · step with step 1 leaves x.5 to be rounded to even.
    Array.from({ length: columns }, (_, column) => (column === 0 ? 127 : column - 18.5)),
    Array.from({ length: columns }, (_, column) => (column === 0 ? -31 : column / 2 - 9)),
    Array.from({ length: columns }, (_, column) => (column === 0 ? 7 : (column - 18) / 4)),
    // One outlier and much that becomes 0; huge and tiny values; subnormal maxima, whose step may be 0.
    Array.from({ length: columns }, (_, column) => (column === 3 ? 1e4 : random())),
    Array.from({ length: columns }, () => 3e38 * random()),
    Array.from({ length: columns }, () => 1e-37 * random()),
    Array.from({ length: columns }, () => 1e-43 * random()),
    Array.from({ length: columns }, () => 1.4e-45),
  ];
  const data = Float32Array.from(rows.flat());

  test.each([8, 6, 4] as const)('at %i bits equals the reference bit by bit', async (bits) => {
    const { y } = await runOnce(
      (graph, x) =>
        graph.output(
          addFakeQuantization(graph, { bits, scales: 'token' }, x, columns),
          ...(['y', 'float32', [rows.length, columns]] as const),
        ),
      data,
      [rows.length, columns],
    );
    const expected = toMatrix(data, columns).map((row) => fakeQuantizeRow(row, bits));
    for (const [index, row] of toMatrix(y!, columns).entries())
      for (const [column, value] of row.entries())
        expect(Math.abs(value - expected[index]![column]!), `row ${index}, column ${column}`).toBe(0);
    const distinct = new Set(toMatrix(y!, columns)[0]);
    expect(distinct.size).toBeLessThanOrEqual(2 ** bits - 1);
  });

  test.each([1, 37, 128, 129, 256, 300, 576])(
    'by blocks of %i columns equals the reference bit by bit',
    async (width) => {
      const next = randomNumbers(width);
      const wide: number[][] = [
        ...Array.from({ length: 9 }, () => Array.from({ length: width }, () => 3 * next())),
        new Array(width).fill(0),
        new Array(width).fill(-0),
        // One outlier, which only its own block may feel; blocks of zeros between others; exact halves; subnormal maxima.
        Array.from({ length: width }, (_, column) => (column === width >> 1 ? 1e4 : next())),
        Array.from({ length: width }, (_, column) => ((column >> 7) % 2 === 1 ? 0 : next())),
        Array.from({ length: width }, (_, column) => (column % 128 === 0 ? 127 : (column % 64) - 18.5)),
        Array.from({ length: width }, (_, column) => 10 ** -(column >> 5) * next()),
        Array.from({ length: width }, () => 3e38 * next()),
        Array.from({ length: width }, () => 1e-43 * next()),
      ];
      const values = Float32Array.from(wide.flat());
      for (const bits of [8, 6, 4] as const) {
        const { y } = await runOnce(
          (graph, x) =>
            graph.output(
              addFakeQuantization(graph, { bits, scales: 'block' }, x, width),
              ...(['y', 'float32', [wide.length, width]] as const),
            ),
          values,
          [wide.length, width],
        );
        const expected = toMatrix(values, width).map((row) => fakeQuantizeRow(row, bits, 'block'));
        for (const [index, row] of toMatrix(y!, width).entries())
          for (const [column, value] of row.entries())
            expect(Math.abs(value - expected[index]![column]!), `row ${index}, column ${column}`).toBe(0);
      }
    },
  );

  test('columns: the largest magnitude of each', async () => {
    const { y } = await runOnce(
      (graph, x) => graph.output(addColumnAbsMax(graph, x), 'y', 'float32', [columns]),
      data,
      [rows.length, columns],
    );
    const matrix = toMatrix(data, columns);
    expect([...y!]).toEqual(
      matrix[0]!.map((_, column) => Math.max(...matrix.map((row) => Math.abs(row[column]!)))),
    );
  });
});

describe('Gram matrices', () => {
  test.each([1, 2, 3, 5, 8, 43, 130])('of %i columns equal the plain sum over windows', async (size) => {
    const random = randomNumbers(size);
    const rowCount = 19;
    const accumulator = new PanelGramAccumulator(size);
    const expected = new Float64Array(size * size);
    for (let window = 0; window < 3; window++) {
      const data = Float32Array.from({ length: rowCount * size }, random);
      const outputs = await runOnce((graph, x) => addGramOutputs(graph, x, size), data, [rowCount, size]);
      accumulator.add(
        accumulator.panels.map((panel) => outputs[panel.name]!),
        rowCount,
      );
      for (const row of toMatrix(data, size))
        for (let i = 0; i < size; i++)
          for (let j = 0; j < size; j++) expected[i * size + j]! += row[i]! * row[j]!;
    }
    const matrix = accumulator.matrix();
    expect(accumulator.tokens).toBe(3 * rowCount);
    expect(relativeMaximumError(matrix, expected)).toBeLessThan(5e-7);
    for (let i = 0; i < size; i++)
      for (let j = 0; j < i; j++) expect(matrix[i * size + j]).toBe(matrix[j * size + i]);
  });

  test('panels cover the upper triangle without a gap', () => {
    for (const size of [1, 4, 5, 6, 7, 576, 1537]) {
      const panels = gramPanels(size);
      let next = 0;
      for (const panel of panels) {
        expect(panel.begin).toBe(next);
        expect(panel.columns).toBe(size - panel.begin);
        next += panel.rows;
      }
      expect(next).toBe(size);
    }
  });
});

test('the causal mask lets a query see itself and what reach allows before it', () => {
  for (const [begin, end, firstKey, reach] of [
    [0, 5, 0, 100],
    [4, 9, 0, 100],
    [4, 9, 2, 3],
    [6, 7, 6, 1],
  ] as const) {
    const mask = causalMask(begin, end, firstKey, reach);
    const keys = end - firstKey;
    for (let query = begin; query < end; query++)
      for (let key = firstKey; key < end; key++) {
        const seen = key <= query && key > query - reach;
        expect(mask[(query - begin) * keys + key - firstKey]).toBe(seen ? 0 : Math.fround(maskedScore));
      }
  }
});

test('the mask behind a cache hides what is not filled, what is out of reach and what comes later', () => {
  for (const [begin, rows, capacity, reach] of [
    [0, 3, 4, 100],
    [4, 1, 4, 100],
    [5, 4, 8, 3],
    [7, 1, 8, 1],
    [2, 5, 8, 4],
  ] as const) {
    const mask = cachedMask(begin, rows, capacity, reach);
    const width = capacity + rows;
    expect(mask).toHaveLength(rows * width);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < width; column++) {
        const query = begin + row;
        const filled = column < begin || column >= capacity;
        const key = column < capacity ? column : begin + column - capacity;
        const seen = filled && key <= query && key > query - reach;
        expect(mask[row * width + column]).toBe(seen ? 0 : Math.fround(maskedScore));
      }
  }
});

test('llama3 scaling keeps fast frequencies, divides slow ones and blends between', () => {
  const base = { kind: 'rope', theta: 500000, rotaryDimensions: 64 } as const;
  const plain = inverseFrequencies({ ...base, scaling: { kind: 'none' } });
  const scaled = inverseFrequencies({
    ...base,
    scaling: {
      kind: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    },
  });
  const ratios = [...plain].map((frequency, index) => frequency / scaled[index]!);
  expect(ratios[0]).toBe(1);
  expect(ratios.at(-1)).toBeCloseTo(8, 5);
  expect(ratios.some((ratio) => ratio > 1.1 && ratio < 7.9)).toBe(true);
  expect(ratios).toEqual([...ratios].sort((left, right) => left - right));
});
