import { expect, test } from 'vitest';
import type { RunDetail } from '../../engine/contract/history.ts';
import { quantizedSchema, quantizeInputSchema } from '../../engine/contract/quantization.ts';
import { toJson } from '../../engine/service/runs.ts';
import { followUpMs } from '../../renderer/src/state/run-results.ts';

const wanted = { verify: true, benchmark: true, quality: { text: { bundled: 'held-out' }, windows: 16 } };
const made = {
  resumedTimes: 0,
  durationMs: 60_000,
};

/** The fields that a result must have, at their least. */
const valid = {
  ...{ package: '/m-gptq-4', runId: 'a', recipe: 'gptq-4', activationBits: 8, embeddingBits: 16 },
  ...{ tables: [], storedBitsPerWeight: 4, nominalBitsPerWeight: null, bytes: 1, sourceBytes: null },
  ...{ peakRssBytes: 1, blocks: 1, calibration: null, worstLayers: [], meanRelativeError: 0 },
  ...{ layerNotes: [], warnings: [] },
};

function run(change: Partial<RunDetail> = {}, quantized: Partial<typeof made> = {}): RunDetail {
  const settings = quantizeInputSchema.parse({
    model: '/m',
    recipe: 'gptq-4',
    calibration: { bundled: 'general' },
    out: '/m-gptq-4',
    followUp: wanted,
  });
  return {
    ...{ kind: 'quantize', state: 'finished', settings: toJson(settings) },
    ...{ createdAt: '2026-01-01T10:00:00.000Z', endedAt: '2026-01-01T10:03:30.000Z' },
    results: { quantize: { ...valid, ...made, ...quantized } },
    ...change,
  } as RunDetail;
}

test('what follows took as long as the run beyond its quantization', () => {
  expect(quantizedSchema.safeParse(run().results.quantize).error?.issues ?? []).toEqual([]);
  expect(followUpMs(run(), wanted)).toBe(150_000);
});

test('nothing is said where something else was asked for, or the time is not one stretch', () => {
  expect(followUpMs(run(), { ...wanted, benchmarkOriginal: true })).toBeNull();
  expect(followUpMs(run(), { ...wanted, quality: { ...wanted.quality, windows: 64 } })).toBeNull();
  expect(followUpMs(run({}, { resumedTimes: 1 }), wanted)).toBeNull();
  expect(followUpMs(run({ state: 'failed' }), wanted)).toBeNull();
  expect(followUpMs(run({ endedAt: null }), wanted)).toBeNull();
  expect(followUpMs(run({ results: {} }), wanted)).toBeNull();
});
