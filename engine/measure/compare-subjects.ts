import type { JsonObject } from '../contract/common.ts';
import type { ComparedMeasurement, ComparedSubject, CompareResult } from '../contract/compare.ts';
import { flatten } from '../contract/flatten.ts';

type Row = CompareResult['differences'][number];

/**
 * Packages side by side: settings in which they differ and agree, figures grouped so that only those of the same text and windows stand in one row, and in words what
 * keeps figures from being compared. A pure function of what the subjects' files say.
 */
export function compareSubjects(subjects: ComparedSubject[]): Omit<CompareResult, 'subjects'> {
  const { shown: complete, leftOut } = onlyWithTheirOriginals(withOriginals(subjects));
  const rows = settingRows(complete);
  // A model in full precision has no recipe to differ in.
  const differs = ({ values }: Row) => {
    const present = values.filter((value, index) => value !== null || complete[index]!.isPackage);
    return new Set(present.map((value) => JSON.stringify(value))).size > 1;
  };
  const groups = groupsOf(complete);
  return {
    differences: rows.filter(differs),
    agreements: rows.filter((row) => !differs(row) && row.values.some((value) => value !== null)),
    groups,
    warnings: [...warningsOf(complete, groups), ...leftOut],
  };
}

/** A package's comparison with a model that is a subject too says the model's perplexity. */
function withOriginals(subjects: ComparedSubject[]): ComparedSubject[] {
  return subjects.map((subject) => {
    if (subject.isPackage) return subject;
    const known = new Set(subject.measurements.map(groupKey));
    const measurements = [...subject.measurements];
    for (const other of subjects)
      for (const measured of other.measurements) {
        if (measured.originalFingerprint !== subject.sourceFingerprint || known.has(groupKey(measured)))
          continue;
        if (measured.perplexity === null || measured.perplexityRatio === null) continue;
        known.add(groupKey(measured));
        const perplexity = measured.perplexity / measured.perplexityRatio;
        // The text was nobody's calibration for a model in full precision.
        const { isCalibrationText: _, activationScales: __, ...rest } = measured;
        measurements.push({ ...rest, ...nothingButPerplexity, activationBits: 16, perplexity });
      }
    return { ...subject, measurements };
  });
}

/** What a comparison has and a mere perplexity does not. */
export const nothingButPerplexity = {
  perplexityRatio: null,
  topTokenAgreement: null,
  klDivergenceNats: null,
  verdict: null,
  thresholds: null,
  originalFingerprint: null,
} as const;

/**
 * Ratio, agreement, divergence and verdict mean something beside the model that they were measured against: where full-precision models are subjects, that is one of
 * them, else the package's own source. Of other comparisons the perplexity alone is shown, and it is said.
 */
function onlyWithTheirOriginals(subjects: ComparedSubject[]) {
  const originals = subjects.filter(({ isPackage }) => !isPackage);
  const leftOut = new Set<string>();
  const shown = subjects.map((subject): ComparedSubject => {
    const allowed = new Set(
      (originals.length > 0 ? originals : [subject]).map(({ sourceFingerprint }) => sourceFingerprint),
    );
    const isComparable = ({ originalFingerprint }: ComparedMeasurement) =>
      originalFingerprint !== null && allowed.has(originalFingerprint);
    const comparable = new Set(subject.measurements.filter(isComparable).map(groupKey));
    const measurements = subject.measurements.map((measured) => {
      const { originalFingerprint, textName, windows, context } = measured;
      if (originalFingerprint === null || isComparable(measured)) return measured;
      if (comparable.has(groupKey(measured))) return { ...measured, ...nothingButPerplexity };
      leftOut.add(
        `${subject.name} was judged against another model than ${
          originals.length > 0 ? 'the one shown here' : 'its source'
        } (${textName}, ${windows} × ${context} tokens): of that comparison only the perplexity is shown`,
      );
      return { ...measured, ...nothingButPerplexity };
    });
    return { ...subject, measurements };
  });
  return { shown, leftOut: [...leftOut] };
}

function settingRows(subjects: ComparedSubject[]): Row[] {
  const named: [string, (subject: ComparedSubject) => Row['values'][number]][] = [
    ['recipe', ({ recipe }) => recipe],
    ['stored bits', ({ storedBitsPerWeight }) => storedBitsPerWeight],
    ['weight files', ({ modelBytes }) => modelBytes],
    ['all files', ({ bytes }) => bytes],
    ['bits per parameter', ({ modelBytes, parameters }) => (8 * modelBytes) / parameters],
    ['activation bits', ({ isPackage, activationBits }) => (isPackage ? activationBits : null)],
    ['activation scales', ({ activationScales }) => activationScales],
    ['embedding bits', ({ embeddingBits }) => embeddingBits],
    [
      'calibration',
      ({ calibration }) =>
        calibration && `${calibration.name}, ${calibration.windows} × ${calibration.context}`,
    ],
    ['mean layer error', ({ meanRelativeError }) => meanRelativeError],
  ];
  const rows = named.map(([field, of]) => ({ field, values: subjects.map(of) }));
  const settings = subjects.map(({ recipeSettings }) => flatten(shownSettings(recipeSettings ?? {})));
  const fields = [...new Set(settings.flatMap((values) => [...values.keys()]))];
  for (const field of fields)
    rows.push({ field, values: settings.map((values) => values.get(field) ?? null) });
  return rows;
}

/** A recipe without what rows of their own say. */
function shownSettings({
  name: _,
  activationBits: __,
  activationScales: ___,
  nominalBitsPerWeight: ____,
  ...rest
}: JsonObject): JsonObject {
  return rest;
}

function groupKey({ textSha256, context, windows }: ComparedMeasurement): string {
  return JSON.stringify([textSha256, context, windows]);
}

/** How many subjects a group has figures of. */
const coverage = ({ values }: CompareResult['groups'][number]) =>
  values.filter((value) => value !== null).length;

function groupsOf(subjects: ComparedSubject[]): CompareResult['groups'] {
  const keys = new Map<string, ComparedMeasurement>();
  for (const { measurements } of subjects)
    for (const measured of measurements)
      if (!keys.has(groupKey(measured))) keys.set(groupKey(measured), measured);
  const groups = [...keys].map(([key, { textName, textSha256, context, windows, tokens }]) => ({
    ...{ textName, textSha256, context, windows, tokens },
    values: subjects.map((subject) => bestOf(subject, key)),
  }));
  return groups.sort(
    (a, b) => coverage(b) - coverage(a) || b.tokens - a.tokens || (a.textName < b.textName ? -1 : 1),
  );
}

/** Of several measurements of one group that at the subject's own activation bits, then a whole comparison before a mere perplexity, then one with its own source. */
function bestOf(subject: ComparedSubject, key: string): ComparedMeasurement | null {
  const rank = (measured: ComparedMeasurement) =>
    (measured.activationBits === subject.activationBits ? 4 : 0) +
    (measured.verdict === null ? 0 : 2) +
    (measured.originalFingerprint === subject.sourceFingerprint ? 1 : 0);
  const found = subject.measurements.filter((measured) => groupKey(measured) === key);
  return found.sort((a, b) => rank(b) - rank(a))[0] ?? null;
}

function warningsOf(subjects: ComparedSubject[], groups: CompareResult['groups']): string[] {
  const warnings: string[] = [];
  const fingerprints = new Set(subjects.map(({ sourceFingerprint }) => sourceFingerprint));
  if (fingerprints.size > 1)
    warnings.push(
      'these are not all of one model (the fingerprints of their sources differ): sizes and errors do not compare',
    );
  const measured = groups.filter((group) => coverage(group) > 0);
  const whole = measured.filter((group) => coverage(group) === subjects.length);
  if (subjects.length > 1 && whole.length === 0)
    warnings.push(
      measured.length === 0
        ? 'nothing has been measured yet; --text measures it'
        : 'there is no text on which all of them were measured: figures of different texts, contexts or numbers of windows do not compare; --text measures what is missing',
    );
  for (const { values, textName, windows, context } of measured) {
    for (const [index, value] of values.entries()) {
      const subject = subjects[index]!;
      const what = `${textName}, ${windows} × ${context} tokens`;
      if (value?.isCalibrationText)
        warnings.push(`${subject.name} was calibrated on the text that it was measured on (${what})`);
      if (value !== null && value.activationBits !== subject.activationBits)
        warnings.push(
          `${subject.name} was made for activations of ${subject.activationBits} bits, but measured with ${value.activationBits} (${what})`,
        );
      // Beside that model itself, which is a subject.
      if (value?.originalFingerprint && value.originalFingerprint !== subject.sourceFingerprint)
        warnings.push(`${subject.name} was judged against another model than its source (${what})`);
    }
  }
  return warnings;
}
