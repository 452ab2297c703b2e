import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import {
  type BenchmarkInput,
  type BenchmarkResult,
  benchmarkSettingsSchema,
  type PerplexityInput,
} from '../../contract/measurement.ts';
import type { QualityInput } from '../../contract/quality.ts';
import type { RunStore } from '../run-store.ts';
import { benchmarkMetrics, perplexityMetrics, qualityMetrics, toJson } from '../runs.ts';
import type { JobContext, JobDefinition } from './job.ts';

/** Perplexity of one subject, remembered when it succeeded. */
export function perplexityJob(runs: RunStore, input: PerplexityInput): JobDefinition<'perplexity'> {
  const runId = input.remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'perplexity',
    runId,
    async run({ runTask }) {
      const { sourceFingerprint, ...measured } = await runTask('perplexity', input);
      const result = { ...measured, runId };
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'perplexity',
            createdAt,
            modelPath: result.model,
            modelFingerprint: sourceFingerprint,
            recipe: result.recipe ?? null,
            activationBits: result.activationBits,
            settings: toJson(input),
          },
          { metrics: perplexityMetrics(result), results: toJson({ perplexity: result }) },
        );
      }
      return result;
    },
  };
}

/** A packed model beside its original, remembered when it succeeded. */
export function qualityJob(runs: RunStore, input: QualityInput): JobDefinition<'quality'> {
  const runId = input.remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'quality',
    runId,
    async run({ runTask }) {
      const { sourceFingerprint, ...measured } = await runTask('quality', input);
      const result = { ...measured, runId };
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'quality',
            createdAt,
            modelPath: result.model,
            modelFingerprint: sourceFingerprint,
            recipe: result.recipe,
            activationBits: result.activationBits,
            settings: toJson(input),
          },
          { metrics: qualityMetrics(result), results: toJson({ quality: result }) },
        );
      }
      return result;
    },
  };
}

/** Benchmark of one subject, and of a baseline where one is given. */
export function benchmarkJob(
  runs: RunStore,
  { baseline, remember, ...settings }: BenchmarkInput,
): JobDefinition<'benchmark'> {
  const runId = remember ? randomUUID() : null;
  const createdAt = new Date().toISOString();
  return {
    kind: 'benchmark',
    runId,
    async run(job) {
      const { result, sourceFingerprint } = await benchmarkSubjects(job, settings, baseline, runId);
      if (runId !== null) {
        runs.record(
          {
            runId,
            kind: 'benchmark',
            createdAt,
            modelPath: result.model,
            modelFingerprint: sourceFingerprint,
            recipe: result.recipe ?? null,
            activationBits: result.activationBits,
            settings: toJson({ ...settings, baseline }),
          },
          { metrics: benchmarkMetrics(result), results: toJson({ benchmark: result }) },
        );
      }
      return result;
    },
  };
}

/** One process after another: subjects that run side by side would measure each other. */
export async function benchmarkSubjects(
  { runTask }: JobContext,
  settings: z.input<typeof benchmarkSettingsSchema>,
  baseline: string | undefined,
  runId: string | null,
): Promise<{ result: BenchmarkResult; sourceFingerprint: string }> {
  const complete = benchmarkSettingsSchema.parse(settings);
  const { sourceFingerprint, ...subject } = await runTask('benchmark', complete);
  if (baseline === undefined) return { result: { ...subject, baseline: null, runId }, sourceFingerprint };
  const { sourceFingerprint: _, ...other } = await runTask('benchmark', {
    ...complete,
    model: baseline,
    activationBits: undefined,
  });
  return { result: { ...subject, baseline: other, runId }, sourceFingerprint };
}
