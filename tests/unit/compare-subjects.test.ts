import { describe, expect, test } from 'vitest';
import type { ComparedMeasurement, ComparedSubject } from '../../engine/contract/compare.ts';
import { compareSubjects } from '../../engine/measure/compare-subjects.ts';

const fingerprint = (digit: string) => digit.repeat(64);

function measured(changes: Partial<ComparedMeasurement> = {}): ComparedMeasurement {
  return {
    ...{ textName: 'wiki', textSha256: fingerprint('1'), context: 512, windows: 8, tokens: 8 * 511 },
    ...{ activationBits: 8, perplexity: 30, perplexityRatio: null, topTokenAgreement: null },
    ...{ klDivergenceNats: null, verdict: null, thresholds: null, originalFingerprint: null },
    ...changes,
  };
}

function packed(name: string, changes: Partial<ComparedSubject> = {}): ComparedSubject {
  return {
    ...{ path: `/packages/${name}`, name, isPackage: true, recipe: 'gptq-4', activationBits: 8 },
    activationScales: 'token',
    ...{ recipeSettings: { name: 'gptq-4', binarizer: { kind: 'uniform', bits: 4 } }, embeddingBits: 16 },
    ...{
      storedBitsPerWeight: 4.25,
      parameters: 1000,
      modelBytes: 500,
      bytes: 600,
      bytesByPart: [],
      calibration: null,
    },
    ...{ sourceFingerprint: fingerprint('a'), meanRelativeError: 0.01, layers: [], measurements: [] },
    ...changes,
  };
}

const original = packed('model', {
  ...{ isPackage: false, recipe: null, recipeSettings: null, activationBits: 16, embeddingBits: null },
  activationScales: null,
  ...{ storedBitsPerWeight: null, modelBytes: 2000, bytes: null, meanRelativeError: null },
});

describe('settings', () => {
  test('that differ are told from those that agree; a model without them differs in size alone', () => {
    const other = packed('three', {
      recipe: 'gptq-3',
      recipeSettings: { name: 'gptq-3', binarizer: { kind: 'uniform', bits: 3 } },
      modelBytes: 400,
      bytes: 500,
    });
    const { differences, agreements } = compareSubjects([original, packed('four'), other]);
    expect(differences).toEqual([
      { field: 'recipe', values: [null, 'gptq-4', 'gptq-3'] },
      { field: 'weight files', values: [2000, 500, 400] },
      { field: 'all files', values: [null, 600, 500] },
      { field: 'bits per parameter', values: [16, 4, 3.2] },
      { field: 'binarizer.bits', values: [null, 4, 3] },
    ]);
    expect(agreements).toContainEqual({ field: 'binarizer.kind', values: [null, 'uniform', 'uniform'] });
    expect(agreements.map(({ field }) => field)).not.toContain('calibration');
  });

  test('of rounding are named for every package, those without the field too', () => {
    const byBlock = packed('block', {
      recipeSettings: { ...packed('four').recipeSettings, activationScales: 'block' },
      activationScales: 'block',
    });
    const row = { field: 'activation scales', values: [null, 'token', 'block'] };
    const { differences } = compareSubjects([original, packed('token'), byBlock]);
    expect(differences).toEqual(expect.arrayContaining([row]));
    expect(differences.map(({ field }) => field)).not.toContain('activationScales');
    expect(compareSubjects([packed('a'), packed('b')]).agreements).toContainEqual({
      field: 'activation scales',
      values: ['token', 'token'],
    });
  });

  test('that only one recipe has are differences', () => {
    const other = packed('b', { recipeSettings: { binarizer: { kind: 'uniform', bits: 4, extra: true } } });
    expect(compareSubjects([packed('a'), other]).differences).toEqual([
      { field: 'binarizer.extra', values: [null, true] },
    ]);
  });
});

describe('figures', () => {
  test('of unlike texts, contexts or window counts never stand in one group, and it is said', () => {
    const subjects = [
      packed('a', { measurements: [measured()] }),
      packed('b', { measurements: [measured({ textSha256: fingerprint('2') })] }),
      packed('c', { measurements: [measured({ context: 256 })] }),
      packed('d', { measurements: [measured({ windows: 4 })] }),
    ];
    const { groups, warnings } = compareSubjects(subjects);
    expect(groups).toHaveLength(4);
    for (const { values } of groups) expect(values.filter((value) => value !== null)).toHaveLength(1);
    expect(warnings.join()).toContain('no text on which all of them were measured');
  });

  test('of one text stand side by side, the best covered group first, without a warning', () => {
    const other = measured({ textSha256: fingerprint('2'), textName: 'other', tokens: 1e6 });
    const { groups, warnings } = compareSubjects([
      packed('a', { measurements: [other, measured({ perplexity: 31 })] }),
      packed('b', { measurements: [measured({ perplexity: 32 })] }),
    ]);
    expect(groups.map(({ textName }) => textName)).toEqual(['wiki', 'other']);
    expect(groups[0]!.values.map((value) => value?.perplexity)).toEqual([31, 32]);
    expect(groups[1]!.values[1]).toBe(null);
    expect(warnings).toEqual([]);
  });

  test('at the activation bits that a package was made for come before others, which are flagged', () => {
    const at16 = measured({ activationBits: 16, perplexity: 29 });
    const both = compareSubjects([packed('a', { measurements: [at16, measured()] })]);
    expect(both.groups[0]!.values[0]).toMatchObject({ activationBits: 8, perplexity: 30 });
    expect(both.warnings).toEqual([]);
    const { warnings } = compareSubjects([packed('a', { measurements: [at16] })]);
    expect(warnings).toEqual([
      'a was made for activations of 8 bits, but measured with 16 (wiki, 8 × 512 tokens)',
    ]);
  });

  test('a whole comparison comes before a mere perplexity', () => {
    const judged = measured({ perplexityRatio: 1.5, verdict: 'degraded', topTokenAgreement: 0.7 });
    const { groups } = compareSubjects([packed('a', { measurements: [measured(), judged] })]);
    expect(groups[0]!.values[0]).toMatchObject({ verdict: 'degraded' });
  });

  test('the original gets its perplexity from comparisons with it, and only with it', () => {
    const judged = (originalFingerprint: string) =>
      packed('a', {
        measurements: [measured({ perplexityRatio: 1.5, verdict: 'degraded', originalFingerprint })],
      });
    expect(compareSubjects([original, judged(fingerprint('a'))]).groups[0]!.values[0]).toMatchObject({
      ...{ perplexity: 20, activationBits: 16, verdict: null },
    });
    const strange = compareSubjects([original, judged(fingerprint('b'))]);
    expect(strange.groups[0]!.values).toEqual([null, measured()]);
    expect(strange.warnings).toContain(
      'a was judged against another model than the one shown here (wiki, 8 × 512 tokens): of that comparison only the perplexity is shown',
    );
  });

  test('of a comparison stand beside the model that they were measured against alone', () => {
    const judged = measured({ perplexityRatio: 1.5, verdict: 'degraded', topTokenAgreement: 0.7 });
    const withB = { ...judged, originalFingerprint: fingerprint('b') };
    const withA = { ...judged, perplexityRatio: 1.2, originalFingerprint: fingerprint('a') };
    const modelB = { ...original, name: 'model-b', sourceFingerprint: fingerprint('b') };
    const sentence = 'of that comparison only the perplexity is shown';

    // Without a model the package's own source is meant.
    const alone = compareSubjects([packed('p', { measurements: [withB] })]);
    expect(alone.groups[0]!.values).toEqual([measured()]);
    expect(alone.warnings.join()).toContain(
      'p was judged against another model than its source (wiki, 8 × 512 tokens): ',
    );
    // Beside model-b a ratio to the package's source means nothing.
    const besideB = compareSubjects([modelB, packed('p', { measurements: [withA] })]);
    expect(besideB.groups[0]!.values).toEqual([null, measured()]);
    expect(besideB.warnings.join()).toContain(sentence);
    // A comparison with the model shown is shown, whatever else was measured; one with the own source comes first.
    const both = [withB, withA];
    const beside = compareSubjects([modelB, packed('p', { measurements: both })]);
    expect(beside.groups[0]!.values[1]).toEqual(withB);
    expect(beside.warnings.join()).not.toContain(sentence);
    expect(beside.warnings).toContain(
      'p was judged against another model than its source (wiki, 8 × 512 tokens)',
    );
    const besideBoth = compareSubjects([modelB, original, packed('p', { measurements: both })]);
    expect(besideBoth.groups[0]!.values[2]).toEqual(withA);
  });

  test('of packages of different models, and of none measured, are warned of', () => {
    const { warnings } = compareSubjects([packed('a'), packed('b', { sourceFingerprint: fingerprint('b') })]);
    expect(warnings).toEqual([
      expect.stringContaining('not all of one model'),
      'nothing has been measured yet; --text measures it',
    ]);
  });
});
