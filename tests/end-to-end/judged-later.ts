import type { RunDetail } from '../../engine/contract/history.ts';
import { verdictThresholds } from '../../engine/contract/verdict.ts';
import { runOf } from './seeded-history.ts';

/** A quantization that measured nothing itself, as its row stands in the history. */
export function quantizedRun(name: string, storedBitsPerWeight: number): RunDetail {
  return runOf({
    runId: `made-${name}`,
    recipe: name,
    packageFingerprint: fingerprintOf(name),
    metrics: { storedBitsPerWeight, bytes: storedBitsPerWeight * 1e6 },
    artifacts: [{ kind: 'package', path: `/packages/${name}`, bytes: 4e6 }],
  });
}

/** Its judgement by a run of its own. */
export function judgedRun(
  name: string,
  {
    perplexityRatio,
    textName = 'bundled:stories-validation',
    device = 'cpu',
  }: { perplexityRatio: number; textName?: string; device?: string },
): RunDetail {
  const originalPerplexity = 10;
  const perplexity = originalPerplexity * perplexityRatio;
  const agreement = { topTokenAgreement: 0.81, topTokenAgreementStandardError: 0.01 };
  return runOf({
    runId: `judged-${name}`,
    kind: 'quality',
    createdAt: '2026-03-02T10:00:00.000Z',
    modelName: name,
    modelPath: `/packages/${name}`,
    recipe: name,
    packageFingerprint: fingerprintOf(name),
    metrics: { perplexity, perplexityRatio, ...{ topTokenAgreement: 0.81 } },
    results: {
      quality: {
        ...{ originalPerplexity, perplexity, perplexityRatio, perplexityRatioStandardError: 0.01 },
        ...agreement,
        klDivergenceNats: {
          ...{ mean: 0.1, standardError: 0.01, p50: 0.05, p90: 0.2, p95: 0.3, p99: 0.5, maximum: 2 },
        },
        verdict: perplexityRatio <= 1.25 ? 'usable' : 'degraded',
        thresholds: JSON.parse(JSON.stringify(verdictThresholds)),
        ...{ tokens: 2032, context: 128, windows: 16, textName },
        textSha256: (textName === 'bundled:stories-validation' ? 'd' : 'e').repeat(64),
        ...{ separatorId: null, activationBits: 8, originalActivationBits: 16 },
        ...{ kernelPath: 'avx2', device, durationMs: 1000, model: `/packages/${name}`, recipe: name },
        ...{ against: '/models/stories-7m', modelBytes: 4e6, againstBytes: 14e6, samples: [] },
        ...{ peakRssBytes: 3e8, runId: `judged-${name}` },
      },
    },
  });
}

function fingerprintOf(name: string): string {
  return Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
}
