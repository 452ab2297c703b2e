import { createHash } from 'node:crypto';
import { numerics } from '../../engine/native/numerics.ts';
import { gridFitDefaults, hostileRows, randomHessian, randomWeight } from './numerics-inputs.ts';

/** Prints digests of everything the numerics compute, for numerics-instruction-sets.test.ts, which runs this once for each instruction set. */

const outFeatures = 37;
const inFeatures = 300;
const digests: Record<string, string> = {};

function record(name: string, arrays: (ArrayBufferView | null)[]): void {
  const hash = createHash('sha256');
  for (const array of arrays)
    if (array !== null) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  digests[name] = hash.digest('hex');
}

const hessian = randomHessian(inFeatures, 500, 1);
const { factor } = numerics.inverseCholesky(hessian, inFeatures, { damping: 0.01, maximumDamping: 1 });
record('inverseCholesky', [factor]);

record('multiply', [
  numerics.multiply(randomWeight(outFeatures, inFeatures, 9), hessian, outFeatures, inFeatures, inFeatures),
]);

const hostile = hostileRows(inFeatures);
const weights = {
  random: randomWeight(outFeatures, inFeatures, 2),
  hostile: new Float32Array(hostile.length * inFeatures),
};
hostile.forEach(({ row }, index) => {
  weights.hostile.set(row, index * inFeatures);
});

for (const [name, weight] of Object.entries(weights)) {
  const rows = weight.length / inFeatures;
  for (const compensation of name === 'random'
    ? (['none', 'reference', 'block', 'column'] as const)
    : (['none'] as const)) {
    for (const bits of [1, 2, 3, 4, 8]) {
      const grid = numerics.quantizeUniform(weight, rows, inFeatures, factor, {
        bits,
        compensation,
        blockSize: 128,
      });
      record(`uniform ${name} ${bits} ${compensation}`, [grid.codes, grid.scales, grid.offsets]);
    }
    for (const searchOn of ['importance', 'weight', 'weighted-weight'] as const) {
      const structured = numerics.quantizeStructured(weight, rows, inFeatures, factor, {
        importance: 'hessian',
        searchOn,
        maximumSalientColumns: 49,
        splitPercentiles: { first: 10, last: 90, count: 81 },
        percentilesOver: 'all-with-zeros',
        compensation,
        blockSize: 128,
      });
      record(`structured ${name} ${searchOn} ${compensation}`, [
        structured.codes,
        structured.levels,
        structured.salientColumns,
      ]);
    }
  }
  const absMax = Float32Array.from({ length: inFeatures }, (_, j) => 1 + (j % 11));
  for (const loss of ['l2', 'l1'] as const) {
    const ltdb = numerics.trainLtdb(weight, rows, inFeatures, absMax, null, {
      epsilon: 0.85,
      training: 'trained',
      learningRate: 0.01,
      maximumEpochs: 200,
      loss,
      blockSize: 128,
    });
    record(`ltdb ${name} ${loss}`, [ltdb.scale, ...ltdb.lossCurves, ltdb.epochs]);
  }
}
for (const bits of [4, 6] as const) {
  const metric = Float32Array.from(hessian);
  const table = numerics.quantizeTable(weights.random, outFeatures, inFeatures, metric, factor, {
    bits,
    sweeps: 2,
  });
  record(`table ${bits}`, [
    table.codes,
    table.scales,
    Float64Array.of(table.metricError, table.metricNorm, table.squaredError),
  ]);
}
for (const levels of [2, 3, 16] as const)
  for (const columnScale of ['free', 'none'] as const) {
    const fit = numerics.fitGrid(weights.random, hessian, outFeatures, inFeatures, {
      ...gridFitDefaults,
      levels,
      columnScale,
    });
    record(`grid ${levels} ${columnScale}`, [
      fit.codes,
      fit.scales,
      fit.columnScale,
      Float64Array.of(fit.startLoss, ...fit.losses, fit.loss),
    ]);
  }
for (const columnsPerStep of [inFeatures, 128]) {
  const fit = numerics.fitGrid(weights.random, hessian, outFeatures, inFeatures, {
    ...gridFitDefaults,
    levels: 4,
    activations: {
      inputs: randomWeight(70, inFeatures, 11),
      weights: new Float32Array(70).fill(7),
      ...{ bits: 6, columnsPerStep },
    },
  });
  record(`grid of rounded activations ${columnsPerStep}`, [
    fit.codes,
    fit.scales,
    fit.columnScale,
    Float64Array.of(fit.startLoss, ...fit.losses, fit.loss),
  ]);
}
const solved = numerics.solveTargets(
  weights.random,
  randomWeight(outFeatures, inFeatures, 3),
  hessian,
  outFeatures,
  inFeatures,
  { damping: 0.05, maximumDamping: 1 },
);
record('solveTargets', [solved.target]);
const errors = numerics.layerErrors(
  weights.random,
  weights.random.map((value) => value * 0.9),
  hessian,
  outFeatures,
  inFeatures,
);
record('layerErrors', [Float64Array.from(Object.values(errors))]);

console.log(JSON.stringify({ instructionSet: numerics.numericsInstructionSet(), digests }));
