import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { keyValueCacheSchema } from '../../../engine/contract/common.ts';
import { createFloatTextModel } from '../../../engine/float/text-model.ts';
import { median } from '../../../engine/measure/statistics.ts';
import { openModel } from '../../../engine/model/open.ts';
import type { TextModel } from '../../../engine/model/text-model.ts';
import { openPackage } from '../../../engine/package/open.ts';
import { createPackedTextModel } from '../../../engine/runtime/packed-text-model.ts';
import { collectGarbage } from '../../collect-garbage.ts';
import { agreementModels, windowsOf } from '../agreement-packages.ts';
import { assets, dbell, numberAt } from '../command.ts';
import { atMost, type Figure, type Item, root } from '../harness.ts';
import { evaluationArguments, packageOf } from '../quantize-and-measure.ts';
import { scoringSeconds } from '../scoring-time.ts';
import { packageOf as packageOfAgreement } from './agreement.ts';
import { smollmModel, smollmSetting } from './recipes.ts';

/** What was asked of the packed runtime on the CPU. */
const limits = {
  cycles: 1000,
  settledCycles: 100,
  rssGrowth: 0.05,
  residentBytes: 64 * 2 ** 20,
  shareOfFullPrecisionTime: 0.55,
} as const;
const recipe = 'grid-8';
const scored = { recipe: 'grid-16', embeddingBits: [16, 6], windows: 16 } as const;
const run = { promptTokens: 512, generatedTokens: 32 } as const;

const cacheRun = { recipe: 'grid-16', depth: 2000, generatedTokens: 16, rounds: 3, windows: 4 } as const;

const setting = (scratch: string) => ({ ...smollmSetting(scratch), recipe, activationBits: 16 });

export const runtimeItems: Item[] = [
  {
    id: 'runtime/cycles',
    title: `CPU: ${limits.cycles} times a package is loaded, run, stopped on the way and closed`,
    run: ({ scratch, log }) => loadAgainAndAgain(scratch, log),
  },
  {
    id: 'runtime/resident-memory',
    title: `SmolLM2, ${recipe}: resident memory beyond the process with its tokenizer, ${run.promptTokens} tokens read and ${run.generatedTokens} generated`,
    run: async ({ scratch }) => {
      const { out } = await packageOf(setting(scratch));
      return residentMemory(out);
    },
  },
  {
    id: 'runtime/perplexity-time',
    title: `SmolLM2, ${scored.recipe} at A8: time of WikiText-2's perplexity against the full-precision engine's, in turns`,
    run: ({ scratch, log }) => perplexityTime(scratch, log),
  },
  {
    id: 'runtime/cache-types',
    title: `SmolLM2, ${cacheRun.recipe} at A8: what keys and values as float16 and int8 cost and save`,
    run: ({ scratch, log }) => cacheTypes(scratch, log),
  },
];

async function loadAgainAndAgain(scratch: string, log: (message: string) => void): Promise<Figure[]> {
  const model = agreementModels[0]!;
  const out = await packageOfAgreement(model, 'grid-2', 16, scratch, os.availableParallelism(), log);
  let settledBytes = 0;
  let highestBytes = 0;
  for (let cycle = 1; cycle <= limits.cycles; cycle++) {
    const source = await openPackage(out);
    const loaded = await createPackedTextModel(source, { threads: 0, activationBits: cycle % 2 ? 8 : 16 });
    const session = await loaded.createSession({ contextLength: 64 });
    await session.feed(Int32Array.of(1, 2, 3));
    // Every third time the model goes while its session is still open, as when somebody stops an answer.
    if (cycle % 3 !== 0) await session.close();
    await loaded.close();
    source.close();
    // What JavaScript has not collected yet is no leak.
    if (cycle % 10 === 0) collectGarbage();
    const { rss } = process.memoryUsage;
    if (cycle === limits.settledCycles) settledBytes = rss();
    if (cycle > limits.settledCycles) highestBytes = Math.max(highestBytes, rss());
    if (cycle % 100 === 0) log(`cycle ${cycle}: ${rss()} bytes resident`);
  }
  return [
    { name: `resident bytes after cycle ${limits.settledCycles}`, measured: settledBytes },
    atMost(
      'most resident bytes afterwards, over these, minus 1',
      highestBytes / settledBytes - 1,
      limits.rssGrowth,
    ),
  ];
}

function residentMemory(out: string): Figure[] {
  const script = path.join(root, 'scripts', 'acceptance', 'resident-memory.ts');
  const printed = execFileSync(
    process.execPath,
    ['--expose-gc', script, out, String(run.promptTokens), String(run.generatedTokens)],
    { encoding: 'utf8' },
  );
  const measured = JSON.parse(printed) as Record<string, unknown>;
  const [idle, highest, weights, cache] = ['idleRssBytes', 'highestRssBytes', 'weights', 'cache'].map((key) =>
    numberAt(measured, key),
  ) as [number, number, number, number];
  return [
    { name: 'resident bytes with the tokenizer loaded', measured: idle },
    { name: 'mapped weights, bytes', measured: weights },
    { name: 'cache, bytes', measured: cache },
    { name: 'highest resident bytes', measured: highest },
    atMost(
      'highest resident bytes beyond these three',
      highest - idle - weights - cache,
      limits.residentBytes,
    ),
  ];
}

/** Packages with embedding and head of 16 bits, which are multiplied in float32, and of 6 bits, beside the full-precision engine, window by window in turns. */
async function perplexityTime(scratch: string, log: (message: string) => void): Promise<Figure[]> {
  const { evaluation } = smollmSetting(scratch);
  const threads = os.availableParallelism();
  const figures: Figure[] = [];
  const source = await openModel(path.join(assets, smollmModel));
  const windows = await windowsOf(source, evaluation.text, {
    ...{ path: evaluation.text, separatorId: null },
    ...{ context: evaluation.context, windows: scored.windows },
  });
  const full = await createFloatTextModel(source, { threads });
  const packages: TextModel[] = [];
  for (const embeddingBits of scored.embeddingBits) {
    const made = await packageOf({ ...setting(scratch), recipe: scored.recipe, embeddingBits });
    figures.push(...made.figures);
    packages.push(await createPackedTextModel(made.out, { threads, activationBits: 8 }));
  }
  const [ofFull, ...ofPackages] = await scoringSeconds([full, ...packages], windows);
  await Promise.all([full, ...packages].map((model) => model.close()));
  source.close();
  const named = (name: string, seconds: readonly number[]): Figure => {
    log(`${name}: ${seconds.map((value) => value.toFixed(2)).join(' ')} s a window`);
    return { name: `${name}: median seconds for ${evaluation.context} tokens`, measured: median(seconds) };
  };
  figures.push(named('full precision', ofFull!));
  for (const [index, embeddingBits] of scored.embeddingBits.entries()) {
    const seconds = ofPackages[index]!;
    const name = `embedding and head of ${embeddingBits} bits`;
    const shares = seconds.map((value, window) => value / ofFull![window]!);
    figures.push(
      named(name, seconds),
      { name: `${name}: smallest share of the full-precision time`, measured: Math.min(...shares) },
      { name: `${name}: largest share`, measured: Math.max(...shares) },
      atMost(
        `${name}: median share of the full-precision time (${scored.windows} windows in turns)`,
        median(shares),
        limits.shareOfFullPrecisionTime,
      ),
    );
  }
  return figures;
}

/** Perplexity with each cache, and speed at a long context, measured in turns. */
async function cacheTypes(scratch: string, log: (message: string) => void): Promise<Figure[]> {
  const { out, figures } = await packageOf({ ...setting(scratch), recipe: cacheRun.recipe });
  const home = path.join(scratch, 'home');
  const { evaluation } = smollmSetting(scratch);
  const { depth, generatedTokens, rounds, windows } = cacheRun;
  const types = keyValueCacheSchema.options;
  const perplexities: number[] = [];
  for (const type of types) {
    const scored = await dbell(
      [
        ...['perplexity', out, '--activation-bits', '8', '--kv-cache', type, '--no-remember'],
        ...evaluationArguments({ ...evaluation, windows }),
      ],
      { home },
    );
    perplexities.push(numberAt(scored, 'perplexity'));
    log(`${type}: perplexity ${perplexities.at(-1)}`);
  }
  const speeds: Record<string, number[]> = {};
  const cacheBytes: Record<string, number> = {};
  for (let round = 1; round <= rounds; round++)
    for (const type of types) {
      const measured = await dbell(
        [
          ...['benchmark', out, '--activation-bits', '8', '--kv-cache', type, '--no-remember'],
          ...['--prompt-tokens', '128', '--depths', String(depth), '--repetitions', '1'],
          ...['--generate-tokens', String(generatedTokens)],
        ],
        { home },
      );
      const speed = numberAt(measured.decodeTokensPerSecond as Record<string, unknown>, String(depth));
      log(`round ${round}, ${type}: ${speed} tokens/s`);
      speeds[type] = [...(speeds[type] ?? []), speed];
      cacheBytes[type] = numberAt(measured.memoryBytes as Record<string, unknown>, 'kvCache');
    }
  for (const [index, type] of types.entries()) {
    figures.push(
      {
        name: `${type}: perplexity (${windows} × ${evaluation.context} tokens)`,
        measured: perplexities[index]!,
      },
      { name: `${type}: cache, bytes`, measured: cacheBytes[type]! },
      {
        name: `${type}: decode after ${depth} tokens over that with float32, median of ${rounds} rounds`,
        measured: median(speeds[type]!.map((speed, round) => speed / speeds.f32![round]!)),
      },
    );
  }
  return figures;
}
