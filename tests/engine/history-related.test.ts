import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { RunKind } from '../../engine/contract/history.ts';
import { type History, openHistory } from '../../engine/history/history.ts';
import { applicationId, migrations } from '../../engine/history/migrations.ts';

/** Measurements that were made of a package after the run that made it. */

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-history-related-'));
afterAll(() => {
  history.close();
  rmSync(folder, { recursive: true, force: true });
});

let history: History;
let number = 0;
beforeEach(() => {
  history?.close();
  number += 1;
  history = openHistory(path.join(folder, String(number), 'history.sqlite'));
});

const day = (of: number) => `2026-01-${String(of).padStart(2, '0')}T00:00:00.000Z`;

interface Of {
  at: string;
  on: number;
  fingerprint?: string | null;
  metrics?: Record<string, number>;
  results?: Record<string, Record<string, string | number>>;
}

function quantized(runId: string, { at, on, fingerprint = null, metrics = {}, results = {} }: Of): void {
  history.begin({
    ...{ runId, kind: 'quantize', createdAt: day(on), modelPath: '/models/tiny', modelFingerprint: 'm' },
    ...{ packageFingerprint: null, recipe: 'gptq-4', activationBits: 8, settings: {} },
  });
  history.finish(runId, {
    ...{ metrics, results, layers: [], modelFingerprint: 'm', activationBits: 8 },
    artifacts: [{ kind: 'package', path: at, bytes: 1 }],
    packageFingerprint: fingerprint,
  });
}

function measured(
  runId: string,
  kind: RunKind,
  { at, on, fingerprint = null, metrics = {}, results }: Of,
): void {
  history.record(
    {
      ...{ runId, kind, createdAt: day(on), modelPath: at, modelFingerprint: 'm', settings: {} },
      ...{ packageFingerprint: fingerprint, recipe: 'gptq-4', activationBits: 8 },
    },
    { metrics, results: results ?? { [kind]: { runId } } },
  );
}

const measurementsOf = (runId: string) => history.measurementsOf(runId).map((run) => run.runId);

describe('a measurement made later', () => {
  test('is found by the package’s fingerprint, wherever the package lies now', () => {
    quantized('made', { at: '/out/a', on: 1, fingerprint: 'f' });
    measured('here', 'quality', { at: '/out/a', on: 2, fingerprint: 'f' });
    measured('moved', 'perplexity', { at: '/elsewhere/a', on: 3, fingerprint: 'f' });
    measured('other', 'quality', { at: '/out/a', on: 4, fingerprint: 'another package there' });
    measured('model', 'benchmark', { at: '/models/tiny', on: 5 });
    expect(measurementsOf('made')).toEqual(['moved', 'here']);
    expect(history.makerOf('moved')?.runId).toBe('made');
    expect(history.makerOf('other')).toBeNull();
    expect(history.makerOf('model')).toBeNull();
    expect(history.makerOf('made')).toBeNull();
    expect(measurementsOf('here')).toEqual([]);
  });

  test('belongs, where no fingerprint is known, to the run that had made what lay there then', () => {
    measured('before', 'quality', { at: '/out/a', on: 1 });
    quantized('first', { at: '/out/a', on: 2 });
    measured('of-first', 'quality', { at: '/out/a', on: 3 });
    quantized('second', { at: '/out/a', on: 4 });
    measured('of-second', 'quality', { at: '/out/a', on: 5 });
    expect(measurementsOf('first')).toEqual(['of-first']);
    expect(measurementsOf('second')).toEqual(['of-second']);
    expect(history.makerOf('of-first')?.runId).toBe('first');
    expect(history.makerOf('of-second')?.runId).toBe('second');
    expect(history.makerOf('before')).toBeNull();
  });

  test('goes with its deletion and comes back with its return', () => {
    quantized('made', { at: '/out/a', on: 1, fingerprint: 'f' });
    measured('judged', 'quality', { at: '/out/a', on: 2, fingerprint: 'f' });
    history.delete(['judged']);
    expect(measurementsOf('made')).toEqual([]);
    history.undoDelete();
    expect(measurementsOf('made')).toEqual(['judged']);
    history.delete(['made']);
    expect(measurementsOf('made')).toEqual([]);
    expect(history.makerOf('judged')).toBeNull();
  });

  test('of two runs that made the same package belongs to both; its maker is the one at its place', () => {
    quantized('one', { at: '/out/one', on: 1, fingerprint: 'f' });
    quantized('two', { at: '/out/two', on: 2, fingerprint: 'f' });
    measured('judged', 'quality', { at: '/out/one', on: 3, fingerprint: 'f' });
    expect(measurementsOf('one')).toEqual(['judged']);
    expect(measurementsOf('two')).toEqual(['judged']);
    expect(history.makerOf('judged')?.runId).toBe('one');
  });
});

describe('a comparison of quantizations', () => {
  const judgedOn = (textSha256: string) => ({ quality: { textSha256, context: 128, tokens: 254 } });

  test('has the figures that were measured later, and says where the texts differ', () => {
    quantized('a', { at: '/out/a', on: 1, fingerprint: 'fa', metrics: { storedBitsPerWeight: 4 } });
    quantized('b', { at: '/out/b', on: 1, fingerprint: 'fb', metrics: { storedBitsPerWeight: 3 } });
    const figures = (perplexity: number) => ({ perplexity, perplexityRatio: perplexity / 8 });
    const judge = (id: string, of: string, on: number, perplexity: number, text: string) =>
      measured(id, 'quality', {
        ...{ at: `/out/${of}`, on, fingerprint: `f${of}` },
        ...{ metrics: figures(perplexity), results: judgedOn(text) },
      });
    judge('old', 'a', 2, 99, 'text-2');
    judge('new', 'a', 3, 9, 'text-1');
    judge('of-b', 'b', 4, 10, 'text-1');
    const { runs, warnings } = history.compare(['a', 'b']);
    expect(runs.map(({ metrics }) => metrics)).toEqual([
      { storedBitsPerWeight: 4, perplexity: 9, perplexityRatio: 9 / 8 },
      { storedBitsPerWeight: 3, perplexity: 10, perplexityRatio: 10 / 8 },
    ]);
    expect(warnings).toEqual([]);
    judge('again', 'b', 5, 10, 'text-2');
    expect(history.compare(['a', 'b']).warnings).toEqual([
      'the perplexities were measured on different texts',
    ]);
    // The rows themselves stay what they were.
    expect(history.show('a').metrics).toEqual({ storedBitsPerWeight: 4 });
  });

  test('takes a run’s own measurement before a later one, but a verdict before a plain perplexity', () => {
    const own = { perplexity: { textSha256: 'own', context: 64, tokens: 63 } };
    quantized('a', { at: '/out/a', on: 1, fingerprint: 'f', metrics: { perplexity: 7 }, results: own });
    measured('plain', 'perplexity', {
      ...{ at: '/out/a', on: 2, fingerprint: 'f', metrics: { perplexity: 8 } },
    });
    expect(history.compare(['a', 'a']).runs[0]).toMatchObject({ metrics: { perplexity: 7 }, results: own });
    measured('judged', 'quality', {
      ...{ at: '/out/a', on: 3, fingerprint: 'f', results: judgedOn('t') },
      metrics: { perplexity: 9, perplexityRatio: 1.1 },
    });
    const [run] = history.compare(['a', 'a']).runs;
    expect(run?.metrics).toEqual({ perplexity: 9, perplexityRatio: 1.1 });
    expect(run?.results).toEqual(judgedOn('t'));
  });
});

test('a row of the table has the figures that a comparison shows, and is sorted by them', () => {
  const judged = (perplexity: number) => ({
    ...{ perplexity, perplexityRatio: perplexity / 8, topTokenAgreement: 0.7 },
  });
  const list = (more = {}) =>
    history.list({
      ...{ kind: 'quantize', sortBy: 'createdAt', descending: false, limit: 50, offset: 0 },
      ...more,
    }).runs;
  quantized('plain', { at: '/out/plain', on: 1, fingerprint: 'fp', metrics: { bytes: 1 } });
  // Of one package twice: measured in its own run, and later at another place.
  quantized('own', { at: '/out/own', on: 2, fingerprint: 'f', metrics: { bytes: 2, ...judged(9) } });
  quantized('later', { at: '/out/later', on: 3, fingerprint: 'f2', metrics: { bytes: 3 } });
  measured('old', 'quality', { at: '/out/later', on: 4, fingerprint: 'f2', metrics: judged(99) });
  measured('judged', 'quality', { at: '/moved', on: 5, fingerprint: 'f2', metrics: judged(10) });
  measured('timed', 'benchmark', {
    ...{ at: '/moved', on: 6, fingerprint: 'f2' },
    metrics: { decodeTokensPerSecond: 5, bytes: 7 },
  });
  measured('words', 'perplexity', { at: '/moved', on: 7, fingerprint: 'f2', metrics: { perplexity: 1 } });
  quantized('unmarked', { at: '/out/unmarked', on: 8, metrics: {} });
  measured('by-place', 'perplexity', { at: '/out/unmarked', on: 9, metrics: { perplexity: 8 } });
  expect(list().map(({ metrics }) => metrics)).toEqual([
    { bytes: 1 },
    { bytes: 2, ...judged(9) },
    { bytes: 3, ...judged(10), decodeTokensPerSecond: 5 },
    { perplexity: 8 },
  ]);
  const compared = history.compare(['own', 'later']).runs;
  expect(
    list()
      .slice(1, 3)
      .map(({ metrics }) => metrics),
  ).toEqual(compared.map(({ metrics }) => metrics));
  const byRatio = list({ sortBy: 'perplexityRatio', descending: true });
  expect(byRatio.map(({ runId }) => runId)).toEqual(['later', 'own', 'unmarked', 'plain']);
  // The rows themselves stay what they were, and what is deleted is not shown.
  expect(history.show('later').metrics).toEqual({ bytes: 3 });
  history.delete(['judged', 'old']);
  expect(list()[2]?.metrics).toEqual({ bytes: 3, perplexity: 1, decodeTokensPerSecond: 5 });
});

test('a quick look does not stand in for a measurement over more tokens, whichever came first', () => {
  quantized('made', { at: '/out/a', on: 1, fingerprint: 'f' });
  quantized('other', { at: '/out/b', on: 1, fingerprint: 'g' });
  const over = (id: string, kind: RunKind, on: number, perplexity: number, perplexityTokens: number) =>
    measured(id, kind, { at: '/out/a', on, fingerprint: 'f', metrics: { perplexity, perplexityTokens } });
  over('whole', 'perplexity', 2, 9.5, 8176);
  over('quick', 'perplexity', 3, 8.4, 508);
  measured('of-other', 'perplexity', { at: '/out/b', on: 4, fingerprint: 'g', metrics: { perplexity: 9 } });
  const list = () =>
    history.list({ kind: 'quantize', sortBy: 'perplexity', descending: true, limit: 50, offset: 0 }).runs;
  expect(list().map(({ runId, metrics }) => [runId, metrics.perplexity])).toEqual([
    ['made', 9.5],
    ['other', 9],
  ]);
  expect(history.compare(['made', 'other']).runs[0]?.results).toEqual({ perplexity: { runId: 'whole' } });
  // The newest of those over as many tokens.
  over('again', 'perplexity', 5, 9.4, 8176);
  expect(list()[0]?.metrics).toEqual({ perplexity: 9.4, perplexityTokens: 8176 });
});

test('a measurement with other activation bits does not stand for the package', () => {
  quantized('made', { at: '/out/a', on: 1, fingerprint: 'f' });
  quantized('other', { at: '/out/b', on: 1, fingerprint: 'g', metrics: { perplexity: 7.2 } });
  const at = (runId: string, on: number, activationBits: number | null, perplexity: number) =>
    history.record(
      {
        ...{ runId, kind: 'perplexity', createdAt: day(on), modelPath: '/out/a', modelFingerprint: 'm' },
        ...{ settings: {}, packageFingerprint: 'f', recipe: 'gptq-4', activationBits },
      },
      { metrics: { perplexity, perplexityTokens: 1000 * perplexity }, results: { perplexity: { runId } } },
    );
  // As the table shows and sorts it, and as a comparison takes it.
  const shown = () => {
    const { runs } = history.list({
      ...{ kind: 'quantize' as const, sortBy: 'perplexity', descending: true, limit: 50, offset: 0 },
    });
    const compared = history.compare(['made', 'other']).runs[0]?.metrics.perplexity;
    expect(compared).toBe(runs.find(({ runId }) => runId === 'made')?.metrics.perplexity);
    return [runs.map(({ runId }) => runId), compared];
  };
  at('sixteen', 2, 16, 8);
  expect(shown()).toEqual([['other', 'made'], undefined]);
  at('eight', 3, 8, 7);
  at('four', 4, 4, 9);
  expect(shown()).toEqual([['other', 'made'], 7]);
  expect(measurementsOf('made')).toEqual(['four', 'eight', 'sixteen']);
  // Of an older version, which kept no bits.
  at('unknown', 5, null, 7.5);
  expect(shown()).toEqual([['made', 'other'], 7.5]);
});

test('a history of the version before is brought up to date with all its runs', () => {
  const file = path.join(folder, 'before.sqlite');
  const old = new SqliteDatabase(file);
  old.exec(migrations[0]!.sql);
  old.pragma(`application_id = ${applicationId}`);
  old.pragma('user_version = 1');
  old
    .prepare(
      `INSERT INTO runs (run_id, kind, state, created_at, model_name, model_path, settings, environment, results)
       VALUES ('old', 'quality', 'finished', ?, 'tiny', '/out/a', '{}', '{}', '{}')`,
    )
    .run(day(1));
  old.close();
  const opened = openHistory(file);
  expect(opened.show('old')).toMatchObject({ runId: 'old', packageFingerprint: null });
  expect(opened.readOnlyReason).toBeNull();
  opened.close();
});
