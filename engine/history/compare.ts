import type { z } from 'zod';
import { fieldInWords, fieldRank } from '../contract/field-names.ts';
import { flatten } from '../contract/flatten.ts';
import type { RunDetail, runDifferenceSchema } from '../contract/history.ts';
import { runSettings } from '../contract/plain-settings.ts';

type Difference = z.infer<typeof runDifferenceSchema>;
type Json = Difference['values'][number];

/** Settings that say where something is, not how it was done. */
const placeFields = new Set(['out', 'model', 'package']);

/** Environment fields in which runs may differ without their speeds becoming incomparable. */
const harmlessConditions = /(^|\.)(time|date|pid|uptime)/i;

/** Figures that depend on the text they were measured on, and those that depend on the machine and what else it did. */
const textFigures = /^(perplexity|originalPerplexity|perplexityRatio|topTokenAgreement|klDivergenceNats)$/;
const machineFigures = /(PerSecond|Ms|RssBytes)$/;

/** What makes figures of two runs different things, with the words for it. */
const requirements: { field: (run: RunDetail) => Json; message: string }[] = [
  {
    field: (run) => measured(run, 'textSha256'),
    message: 'the perplexities were measured on different texts',
  },
  {
    field: (run) => measured(run, 'context'),
    message: 'the perplexities were measured with different context lengths',
  },
  {
    field: (run) => measured(run, 'tokens'),
    message: 'the perplexities were measured on different numbers of tokens',
  },
];

/** Differences of runs field by field, and in words what makes their figures unlike. Values are in the order of the runs, null where absent. */
export function compareRuns(runs: RunDetail[]): { differences: Difference[]; warnings: string[] } {
  const unlike = measuredDifferences(runs);
  const differences: Difference[] = [
    ...differing('settings', runs, (run) => ({
      recipe: run.recipe,
      activationBits: run.activationBits,
      ...runSettings(run),
    })),
    ...differing('conditions', runs, (run) => run.environment),
    ...unlike.map(({ difference }) => difference),
    ...differing('metrics', runs, (run) => run.metrics),
  ];
  const textWarnings = requirements
    .filter(({ field }) => {
      const present = runs.map(field).filter((value) => value !== null);
      return new Set(present.map((value) => JSON.stringify(value))).size > 1;
    })
    .map(({ message }) => message);
  const conditionWarnings: string[] = [];
  const warningsOf = (which: Unlike['concerns']) =>
    unlike.filter(({ concerns }) => concerns === which).map(({ difference }) => difference.warning);
  for (const difference of differences) {
    const { group, field, values } = difference;
    if (difference.warning !== null || group !== 'conditions' || harmlessConditions.test(field)) continue;
    difference.warning = `${fieldInWords(field)} differs: ${[...new Set(values.map((value) => show(value)))].join(' and ')}`;
    conditionWarnings.push(difference.warning);
  }
  for (const difference of differences)
    if (difference.group === 'metrics')
      difference.warning = metricWarning(
        difference.field,
        [...textWarnings, ...warningsOf('all')],
        [...conditionWarnings, ...warningsOf('all'), ...warningsOf('speed')],
      );
  return {
    differences,
    warnings: [
      ...textWarnings,
      ...(areOfDifferentModels(runs) ? ['the runs are of different models'] : []),
      ...unlike.map(({ difference }) => difference.warning),
      ...conditionWarnings,
    ],
  };
}

/** What the figures of a run were measured with; runs are told apart by it only where it is known of two of them. `all`: figures of quality and speed alike. */
const measuredWith: {
  field: string;
  of: (run: RunDetail) => Json;
  concerns: 'all' | 'speed';
  words: (values: readonly string[]) => string;
}[] = [
  {
    // Packages of one recipe's name may round activations by token or by block: their figures are not of one kind.
    field: 'activationScales',
    of: measuredScales,
    concerns: 'all',
    words: (values) =>
      `activations were rounded in different ways: ${values.map((scales) => `by ${scales}`).join(' and ')}`,
  },
  {
    field: 'kernelPath',
    of: ({ results }) => at(results, 'benchmark.kernelPath'),
    concerns: 'speed',
    words: (values) => `the speeds are of different kernels: ${values.join(' and ')}`,
  },
  {
    field: 'measuredPromptTokens',
    of: ({ results }) => keysOf(results.benchmark, 'prefillTokensPerSecond'),
    concerns: 'speed',
    words: (values) => `the speeds are of prompts of different lengths: ${values.join(' and ')} tokens`,
  },
  {
    field: 'measuredDepths',
    of: ({ results }) => keysOf(results.benchmark, 'decodeTokensPerSecond'),
    concerns: 'speed',
    words: (values) => `the speeds are of different depths: ${values.join(' and ')} tokens before`,
  },
];

type Unlike = { difference: Difference & { warning: string }; concerns: 'all' | 'speed' };

/** In what the measurements of runs differ, where they do. */
function measuredDifferences(runs: RunDetail[]): Unlike[] {
  return measuredWith.flatMap(({ field, of, concerns, words }) => {
    const values = runs.map(of);
    const known = [...new Set(values.filter((value) => value !== null).map(String))];
    if (known.length < 2) return [];
    return [{ difference: { group: 'conditions', field, values, warning: words(known) }, concerns }];
  });
}

/** What shared a step of the activations that a run measured with; null where it measured nothing, or did not round them. */
function measuredScales({ results }: RunDetail): string | null {
  for (const kind of ['perplexity', 'quality', 'benchmark']) {
    const bits = at(results, `${kind}.activationBits`);
    if (typeof bits !== 'number' || bits >= 16) continue;
    const scales = at(results, `${kind}.activationScales`);
    return typeof scales === 'string' ? scales : 'token';
  }
  return null;
}

/** Token counts that a benchmark has figures of, as text; null where there are none. */
function keysOf(benchmark: Json | undefined, name: string): string | null {
  const figures =
    benchmark && typeof benchmark === 'object' && !Array.isArray(benchmark) ? benchmark[name] : undefined;
  const keys = figures && typeof figures === 'object' && !Array.isArray(figures) ? Object.keys(figures) : [];
  return keys.length === 0 ? null : keys.join(', ');
}

/** Why the values of a figure are not of one kind, by what the figure depends on. */
function metricWarning(field: string, textWarnings: string[], conditionWarnings: string[]): string | null {
  if (textFigures.test(field) && textWarnings.length > 0) return textWarnings.join('; ');
  if (machineFigures.test(field) && conditionWarnings.length > 0)
    return `measured under unlike conditions: ${conditionWarnings.join('; ')}`;
  return null;
}

/** Of the text that a run's perplexity belongs to, by whichever measurement. */
function measured(run: RunDetail, name: string): Json {
  return at(run.results, `perplexity.${name}`) ?? at(run.results, `quality.${name}`);
}

/** Packages of one source are one model in different clothes. Where the source of a run is not known its name must do. */
function areOfDifferentModels(runs: RunDetail[]): boolean {
  const fingerprints = runs.map(({ modelFingerprint }) => modelFingerprint);
  const known = fingerprints.every((fingerprint) => fingerprint !== null);
  return new Set(known ? fingerprints : runs.map(({ modelName }) => modelName)).size > 1;
}

function differing(
  group: Difference['group'],
  runs: RunDetail[],
  object: (run: RunDetail) => Record<string, Json>,
): Difference[] {
  const flat = runs.map((run) => flatten(object(run)));
  const fields = [...new Set(flat.flatMap((values) => [...values.keys()]))]
    .sort()
    .sort((a, b) => fieldRank(a) - fieldRank(b));
  return fields
    .filter((field) => group !== 'settings' || !placeFields.has(field))
    .map((field) => ({
      group,
      field,
      values: flat.map((values) => values.get(field) ?? null),
      warning: null,
    }))
    .filter(({ values }) => new Set(values.map((value) => JSON.stringify(value))).size > 1);
}

function at(object: Record<string, Json>, dotted: string): Json {
  return flatten(object).get(dotted) ?? null;
}

function show(value: Json): string {
  const json = value === null ? 'unknown' : typeof value === 'string' ? value : JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}
