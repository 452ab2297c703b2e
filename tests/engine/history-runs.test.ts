import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type HistoryListInput,
  historyListInputSchema,
  type RunDetail,
  runDetailSchema,
} from '../../engine/contract/history.ts';
import { quantizeInputSchema } from '../../engine/contract/quantization.ts';
import { exportText, parseExport } from '../../engine/history/export.ts';
import { type History, openHistory } from '../../engine/history/history.ts';
import { undoableDeletions } from '../../engine/history/limits.ts';
import type { RunBeginning, RunOutcome } from '../../engine/history/types.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-history-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let history: History;
let number = 0;
beforeEach(() => {
  history?.close();
  number += 1;
  history = openHistory(path.join(folder, `${number}`, 'history.sqlite'), {
    environment: { cpu: { name: 'test' } },
    now: () => '2026-02-01T00:00:00.000Z',
  });
});
afterAll(() => history.close());

function beginning(runId: string, changes: Partial<RunBeginning> = {}): RunBeginning {
  return {
    ...{ runId, kind: 'quantize', createdAt: '2026-01-01T00:00:00.000Z', modelPath: '/models/tiny' },
    ...{
      modelFingerprint: null,
      packageFingerprint: null,
      recipe: 'rtn-4',
      activationBits: 8,
      settings: { windows: 4 },
    },
    ...changes,
  };
}

function outcome(metrics: Record<string, number>, changes: Partial<RunOutcome> = {}): RunOutcome {
  return {
    metrics,
    results: {},
    layers: [],
    artifacts: [],
    modelFingerprint: null,
    packageFingerprint: null,
    activationBits: null,
    ...changes,
  };
}

function list(input: Partial<HistoryListInput> = {}): string[] {
  return history.list(historyListInputSchema.parse(input)).runs.map((run) => run.runId);
}

describe('a run', () => {
  test('is remembered with everything that was said about it', () => {
    history.begin(beginning('a', { settings: { out: '/out/a', set: [{ key: 'x', value: '1' }] } }));
    expect(history.show('a')).toMatchObject({ state: 'running', endedAt: null, error: null, layers: [] });
    const layers = [
      { name: 'q', relativeError: 0.25, weightRelativeError: 0.5, notes: ['damping was raised'] },
      { name: 'k', relativeError: 0.125, weightRelativeError: 0.25, notes: [] },
    ];
    const artifacts = [{ kind: 'package', path: '/out/a', bytes: 2 ** 40 }];
    history.finish(
      'a',
      outcome(
        { perplexity: 7.5, broken: Number.NaN },
        { layers, artifacts, results: { quantize: { x: [1] } }, modelFingerprint: 'abc' },
      ),
    );
    const run = history.show('a');
    expect(runDetailSchema.parse(run)).toEqual(run);
    expect(run).toEqual({
      ...{ runId: 'a', kind: 'quantize', state: 'finished', createdAt: '2026-01-01T00:00:00.000Z' },
      ...{
        endedAt: '2026-02-01T00:00:00.000Z',
        modelName: 'tiny',
        modelPath: '/models/tiny',
        modelFingerprint: 'abc',
        packageFingerprint: null,
        recipe: 'rtn-4',
      },
      ...{ activationBits: 8, metrics: { perplexity: 7.5 }, tags: [], note: '', error: null },
      settings: { out: '/out/a', set: [{ key: 'x', value: '1' }] },
      environment: { cpu: { name: 'test' } },
      results: { quantize: { x: [1] } },
      ...{ layers, artifacts },
    });
  });

  test('that fails or is stopped keeps its error, and is running again once resumed', () => {
    history.begin(beginning('a'));
    history.fail('a', { code: 'stopped', message: 'stopped by the user' });
    expect(history.show('a')).toMatchObject({ state: 'stopped', error: { code: 'stopped' } });
    history.begin(beginning('a'));
    expect(history.show('a')).toMatchObject({ state: 'running', error: null, endedAt: null });
    history.fail('a', { code: 'disk-full', message: 'no room' });
    expect(history.show('a')).toMatchObject({
      state: 'failed',
      error: { code: 'disk-full', message: 'no room' },
    });
    history.begin(beginning('a'));
    history.finish('a', outcome({}));
    expect(list()).toEqual(['a']);
  });

  test('that never ended is found by its output, unless its process lives', () => {
    const input = quantizeInputSchema.parse({
      ...{ model: '/m', recipe: 'rtn-4', calibration: { bundled: 'general' }, out: '/out/x' },
    });
    history.begin(beginning('a', { settings: JSON.parse(JSON.stringify(input)) }));
    expect(history.unfinishedFor('/out/x')).toEqual({
      ...{ runId: 'a', createdAt: '2026-01-01T00:00:00.000Z', modelPath: '/models/tiny', input },
    });
    expect(history.unfinishedFor('/out/y')).toBeNull();
    history.finish('a', outcome({}));
    expect(history.unfinishedFor('/out/x')).toBeNull();
  });

  test('that failed can be taken up, unless a newer one ended well in the same folder', () => {
    const input = quantizeInputSchema.parse({
      ...{ model: '/m', recipe: 'rtn-4', calibration: { bundled: 'general' }, out: '/out/x' },
    });
    const settings = JSON.parse(JSON.stringify(input));
    history.begin(beginning('a', { settings }));
    history.fail('a', { code: 'worker-died', message: '' });
    expect(history.unfinishedFor('/out/x')).toMatchObject({ runId: 'a' });
    history.begin(beginning('b', { settings, createdAt: '2026-01-02T00:00:00.000Z' }));
    history.finish('b', outcome({}));
    expect(history.unfinishedFor('/out/x')).toBeNull();
  });

  test('that is not there is an error', () => {
    for (const call of [
      () => history.show('none'),
      () => history.finish('none', outcome({})),
      () => history.fail('none', { code: 'internal', message: '' }),
      () => history.annotate('none', { note: '' }),
      () => history.delete(['none']),
      () => history.export(['none']),
    ])
      expect(call).toThrow('the history has no run none');
  });

  test('a change that fails half-way leaves nothing', () => {
    history.begin(beginning('a'));
    expect(() => history.delete(['a', 'none'])).toThrow('no run none');
    expect(list()).toEqual(['a']);
    const twice = { name: 'x', relativeError: Number.NaN, weightRelativeError: 1, notes: [] };
    expect(() => history.finish('a', outcome({ perplexity: 1 }, { layers: [twice] }))).toThrow();
    expect(history.show('a')).toMatchObject({ state: 'running', metrics: {} });
  });
});

describe('the table of runs', () => {
  beforeEach(() => {
    const make = (runId: string, changes: Partial<RunBeginning>, metrics: Record<string, number>) => {
      history.begin(beginning(runId, changes));
      history.finish(runId, outcome(metrics));
    };
    make('a', { createdAt: '2026-01-03T00:00:00.000Z', modelPath: '/m/Bear' }, { perplexity: 9 });
    make(
      'b',
      { createdAt: '2026-01-01T00:00:00.000Z', modelPath: '/m/ant', recipe: 'gptq-2' },
      { perplexity: 12 },
    );
    make('c', { createdAt: '2026-01-02T00:00:00.000Z', modelPath: '/m/cat/hf', recipe: null }, { bytes: 5 });
    history.record(beginning('d', { kind: 'perplexity', createdAt: '2026-01-04T00:00:00.000Z' }), {
      metrics: { perplexity: 10 },
      results: {},
    });
    history.annotate('b', { note: "Größe 100%_ 'quoted'", tags: ['keep', 'keep', 'Straße'] });
  });

  test('is sorted by columns and figures; runs without the figure come last either way', () => {
    expect(list()).toEqual(['d', 'a', 'c', 'b']);
    expect(list({ descending: false })).toEqual(['b', 'c', 'a', 'd']);
    expect(list({ sortBy: 'perplexity', descending: false })).toEqual(['a', 'd', 'b', 'c']);
    expect(list({ sortBy: 'perplexity' })).toEqual(['b', 'd', 'a', 'c']);
    expect(list({ sortBy: 'modelName', descending: false })).toEqual(['b', 'a', 'c', 'd']);
    expect(history.show('c').modelName).toBe(path.join('cat', 'hf'));
  });

  test('is filtered by kind, state, recipe, tag and words, in pages with the total', () => {
    expect(list({ kind: 'perplexity' })).toEqual(['d']);
    expect(list({ recipe: 'gptq-2' })).toEqual(['b']);
    expect(list({ tag: 'keep' })).toEqual(['b']);
    expect(list({ text: 'BEAR' })).toEqual(['a']);
    expect(list({ text: 'grösse' })).toEqual([]);
    expect(list({ text: 'größe ant' })).toEqual(['b']);
    expect(list({ text: '100%_' })).toEqual(['b']);
    expect(list({ text: "'" })).toEqual(['b']);
    expect(list({ text: 'straß' })).toEqual(['b']);
    expect(list({ text: '%' })).toEqual(['b']);
    const page = history.list(historyListInputSchema.parse({ limit: 2, offset: 1 }));
    expect(page.total).toBe(4);
    expect(page.runs.map((run) => run.runId)).toEqual(['a', 'c']);
    expect(page.runs[0]!.metrics).toEqual({ perplexity: 9 });
    expect(history.show('b').tags).toEqual(['Straße', 'keep']);
  });

  test('deletion hides runs and can be undone, the newest first', () => {
    expect(history.delete(['a', 'b'])).toBe(2);
    expect(history.delete(['c'])).toBe(1);
    expect(list()).toEqual(['d']);
    expect(() => history.show('a')).toThrow('no run a');
    expect(history.undoDelete()).toEqual(['c']);
    expect(history.undoDelete()).toEqual(['b', 'a']);
    expect(history.undoDelete()).toEqual([]);
    expect(list()).toEqual(['d', 'a', 'c', 'b']);
    expect(history.show('b').tags).toEqual(['Straße', 'keep']);
  });

  test('only so many deletions can be undone', () => {
    for (let index = 0; index <= undoableDeletions; index += 1) history.begin(beginning(`x${index}`));
    for (let index = 0; index <= undoableDeletions; index += 1) history.delete([`x${index}`]);
    let undone = 0;
    while (history.undoDelete().length > 0) undone += 1;
    expect(undone).toBe(undoableDeletions);
    expect(list({ limit: 100 })).not.toContain('x0');
    expect(list({ limit: 100 })).toContain('x1');
  });

  test('comparison names what differs and what makes figures unlike', () => {
    const measured = (runId: string, textSha256: string, cpu: string, perplexity: number) =>
      history.record(
        beginning(runId, {
          environment: { cpu: { name: cpu } },
          settings: { windows: runId === 'p' ? 4 : 8, out: runId },
        }),
        { metrics: { perplexity }, results: { perplexity: { textSha256, context: 64 } } },
      );
    measured('p', 'one', 'fast', 8);
    measured('q', 'two', 'slow', 9);
    const { runs, differences, warnings } = history.compare(['q', 'p']);
    expect(runs.map((run) => run.runId)).toEqual(['q', 'p']);
    expect(differences).toEqual([
      { group: 'settings', field: 'windows', values: [8, 4], warning: null },
      {
        ...{ group: 'conditions', field: 'cpu.name', values: ['slow', 'fast'] },
        warning: 'CPU name differs: slow and fast',
      },
      {
        ...{ group: 'metrics', field: 'perplexity', values: [9, 8] },
        warning: 'the perplexities were measured on different texts',
      },
    ]);
    expect(warnings).toEqual([
      'the perplexities were measured on different texts',
      'CPU name differs: slow and fast',
    ]);
    expect(history.compare(['p', 'p'])).toMatchObject({ differences: [], warnings: [] });
  });

  test('comparison marks figures whose activations were rounded in different ways', () => {
    const measured = (runId: string, kind: string, activationBits: number, activationScales?: string) =>
      history.record(beginning(runId), {
        metrics: { perplexity: runId.length },
        results: { [kind]: { activationBits, ...(activationScales && { activationScales }) } },
      });
    measured('old', 'perplexity', 8);
    measured('block', 'quality', 8, 'block');
    measured('token-six', 'benchmark', 6, 'token');
    measured('sixteen', 'perplexity', 16);
    const warning = 'activations were rounded in different ways: by token and by block';
    const compared = history.compare(['old', 'block', 'sixteen']);
    expect(compared.differences).toEqual([
      {
        ...{ group: 'conditions', field: 'activationScales', values: ['token', 'block', null] },
        warning,
      },
      { group: 'metrics', field: 'perplexity', values: [3, 5, 7], warning },
    ]);
    expect(compared.warnings).toEqual([warning]);
    for (const alike of [
      ['old', 'token-six'],
      ['block', 'sixteen'],
      ['old', 'sixteen'],
    ])
      expect(history.compare(alike).warnings).toEqual([]);
  });

  test('comparison says where speeds are of other kernels, prompts or depths', () => {
    const benchmarked = (runId: string, kernelPath: string, prompt: number, depth: number) =>
      history.record(beginning(runId), {
        metrics: { prefillTokensPerSecond: prompt, decodeTokensPerSecond: depth },
        results: {
          benchmark: {
            ...{ kernelPath, prefillTokensPerSecond: { [prompt]: 1 } },
            decodeTokensPerSecond: { [depth]: 2 },
          },
        },
      });
    benchmarked('slow', 'sse41', 64, 0);
    benchmarked('fast', 'avx2', 128, 0);
    benchmarked('deep', 'avx2', 128, 256);
    history.record(beginning('unmeasured'), { metrics: { perplexity: 3 }, results: {} });
    const kernels = 'the speeds are of different kernels: sse41 and avx2';
    const prompts = 'the speeds are of prompts of different lengths: 64 and 128 tokens';
    const compared = history.compare(['slow', 'fast']);
    expect(compared.warnings).toEqual([kernels, prompts]);
    expect(compared.differences).toContainEqual({
      ...{ group: 'metrics', field: 'prefillTokensPerSecond', values: [64, 128] },
      warning: `measured under unlike conditions: ${kernels}; ${prompts}`,
    });
    expect(history.compare(['fast', 'deep']).warnings).toEqual([
      'the speeds are of different depths: 0 and 256 tokens before',
    ]);
    expect(history.compare(['fast', 'unmeasured']).warnings).toEqual([]);
  });

  test('runs are of one model where their sources are one, whatever the packages are called', () => {
    const of = (runId: string, modelPath: string, modelFingerprint: string | null) =>
      history.record(beginning(runId, { modelPath, modelFingerprint }), { metrics: {}, results: {} });
    of('package', '/packages/three', 'f1');
    of('model', '/models/tiny', 'f1');
    of('other', '/models/tiny', 'f2');
    of('unknown', '/models/tiny', null);
    const warnings = (...runs: string[]) => history.compare(runs).warnings;
    expect(warnings('package', 'model')).toEqual([]);
    expect(warnings('model', 'other')).toEqual(['the runs are of different models']);
    // What an older version remembered has only its name.
    expect(warnings('model', 'unknown')).toEqual([]);
    expect(warnings('package', 'unknown')).toEqual(['the runs are of different models']);
  });

  const added = (imported: number) => ({ imported, known: 0, refused: 0, refusals: [] });

  test('an import leaves alone what it finds, and refuses another run with a known id', () => {
    const other = openHistory(path.join(folder, 'refusing.sqlite'));
    const exported = history.export(['a', 'b']);
    const [first, second] = exported as [RunDetail, RunDetail];
    other.import([first]);
    other.annotate(first.runId, { note: 'mine' });
    other.delete([first.runId]);
    const foreign = { ...first, kind: 'benchmark' as const };
    expect(other.import([first, foreign, second, second])).toEqual({
      ...{ imported: 1, known: 2, refused: 1 },
      refusals: [
        {
          runId: first.runId,
          reason: `another run has this id here: quantize of ${first.modelPath}, begun ${first.createdAt}; the file has benchmark of ${first.modelPath}, begun ${first.createdAt}`,
        },
      ],
    });
    other.undoDelete();
    expect(other.show(first.runId)).toMatchObject({ note: 'mine', kind: 'quantize' });
    other.close();
  });

  test('an import that fails in its middle adds nothing', () => {
    const other = openHistory(path.join(folder, 'failing.sqlite'));
    const [run] = history.export(['a']) as [RunDetail];
    // Its layers cannot be written: whatever fails, the run before it must not stay.
    const failing = { ...run, runId: 'failing', layers: null as unknown as RunDetail['layers'] };
    expect(() => other.import([run, failing])).toThrow();
    expect(other.export()).toEqual([]);
    other.close();
  });

  test('what is exported can be imported elsewhere, once', () => {
    const runs = history.export();
    expect(runs.map((run) => run.runId)).toEqual(['b', 'c', 'a', 'd']);
    const text = exportText(runs, 'json');
    const other = openHistory(path.join(folder, 'other.sqlite'));
    expect(other.import(parseExport(Buffer.from(text), 'x.json'))).toEqual(added(4));
    expect(other.export()).toEqual(runs);
    expect(other.import(parseExport(Buffer.from(text), 'x.json'))).toEqual({
      ...added(0),
      known: 4,
    });
    other.close();
    expect(history.export(['d', 'a']).map((run) => run.runId)).toEqual(['a', 'd']);
    expect(exportText(runs, 'markdown')).toContain("| Größe 100%\\_ 'quoted' |");
    expect(exportText([{ ...runs[0]!, note: '<script>' }], 'html')).toContain('<td>&lt;script&gt;</td>');
  });

  test.each([
    ['nothing', '', 'x.json is not an exported history: it is no JSON'],
    [
      'another JSON',
      '{"format": "x"}',
      'x.json is not an exported history: format: expected dbell-history, got "x"',
    ],
    [
      'a newer version',
      '{"format": "dbell-history", "version": 9}',
      'x.json was exported by a newer version of DBell Studio (version 9, this one reads 1); update DBell Studio',
    ],
    [
      'a file cut off',
      '{"format": "dbell-history", "version": 1, "runs": [{"runId": "a"',
      'x.json is not an exported history: it is no JSON',
    ],
    [
      'a run with a date that is none',
      JSON.stringify({
        ...{ format: 'dbell-history', version: 1 },
        runs: [{ runId: 'a', kind: 'quality', state: 'finished', createdAt: 'yesterday' }],
      }),
      /^x\.json is not an exported history: runs\.0\.createdAt: /,
    ],
    [
      'a run without fields',
      '{"format": "dbell-history", "version": 1, "runs": [{"runId": "a"}]}',
      /^x\.json is not an exported history: runs\.0\.kind: /,
    ],
    [
      'a run whose results are nested without end',
      `{"format": "dbell-history", "version": 1, "runs": [{"results": ${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}]}`,
      'x.json is not an exported history: it is nested deeper than 64 levels',
    ],
  ])('an import of %s is refused', (_, text, message) => {
    expect(() => parseExport(Buffer.from(text), 'x.json')).toThrow(message);
  });
});

test('runs are found by the first characters of their ids, however many there are', () => {
  for (const runId of ['abc-1', 'abc-2', 'ab%', 'b']) history.begin(beginning(runId));
  expect(history.idsBeginning('abc', 9)).toEqual(['abc-1', 'abc-2']);
  expect(history.idsBeginning('ab', 2)).toHaveLength(2);
  expect(history.idsBeginning('ab%', 9)).toEqual(['ab%']);
  expect(history.idsBeginning('AB', 9)).toEqual([]);
  history.delete(['abc-1']);
  expect(history.idsBeginning('abc', 9)).toEqual(['abc-2']);
});

test('5,000 runs are listed, searched and sorted quickly', () => {
  const random = new SeededRandom(3);
  const runs = Array.from({ length: 5000 }, (_, index) => {
    const run = beginning(`run-${index}`, {
      recipe: `gptq-${index % 5}`,
      modelPath: `/m/model-${index % 17}`,
    });
    return {
      ...run,
      ...{
        state: 'finished' as const,
        endedAt: null,
        modelName: `model-${index % 17}`,
        error: null,
        artifacts: [],
      },
      ...{
        environment: {},
        results: {},
        activationBits: 8,
        note: index === 4321 ? 'the needle' : 'hay',
        tags: ['t'],
      },
      metrics: { perplexity: random.nextUint32() / 1e6, bytes: index, storedBitsPerWeight: 2 },
      layers: Array.from({ length: 10 }, (_, layer) => ({
        ...{ name: `layer-${layer}`, relativeError: 0.1, weightRelativeError: 0.1, notes: [] },
      })),
    };
  });
  history.import(runs);
  const timed = (input: Partial<HistoryListInput>): number => {
    const started = performance.now();
    const { total, runs: page } = history.list(historyListInputSchema.parse(input));
    expect(page.length).toBe(Math.min(total, 50));
    return performance.now() - started;
  };
  timed({});
  expect(history.list(historyListInputSchema.parse({ text: 'needle' })).runs.map((run) => run.runId)).toEqual(
    ['run-4321'],
  );
  // Each takes a few milliseconds; the bound is what a person still feels as immediate, on a busy machine.
  expect(timed({})).toBeLessThan(250);
  expect(timed({ sortBy: 'perplexity' })).toBeLessThan(250);
  expect(timed({ text: 'needle' })).toBeLessThan(250);
  expect(timed({ recipe: 'gptq-3', sortBy: 'bytes' })).toBeLessThan(250);
});
