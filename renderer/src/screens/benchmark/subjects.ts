import type { BenchmarkResult, BenchmarkSubject } from '../../../../engine/contract/measurement.ts';
import { baseName } from '../../format/numbers.ts';
import { sentence } from '../../format/texts.ts';
import { strings } from '../../strings/index.ts';

const words = strings.benchmark;

/** One that was measured, by the name that it has in the table and the charts. */
export interface NamedSubject {
  label: string;
  subject: BenchmarkSubject;
}

/** All that were measured: the model, what stands beside it, and other programs. No two have the same name. */
export function subjectsOf(result: BenchmarkResult): NamedSubject[] {
  const models = result.baseline ? [result, result.baseline] : [result];
  const labels = namesOf(models);
  return [
    ...models.map((subject, index) => ({ label: labels[index] ?? '', subject })),
    ...(result.peers ?? []).flatMap(({ engine, type, subject }) =>
      subject ? [{ label: `${engine} ${type}`, subject }] : [],
    ),
  ];
}

/** Why a benchmark is unstable, each reason with the name of whom it is of where there are several. Empty where all are stable. */
export function instabilityOf(subjects: readonly NamedSubject[]): string[] {
  return subjects.flatMap(({ label, subject: { stable, stabilityNotes } }) => {
    if (stable) return [];
    if (subjects.length === 1) return stabilityNotes.map(sentence);
    return (stabilityNotes.length > 0 ? stabilityNotes : [words.unstable.toLowerCase()]).map(
      (note) => `${label}: ${note}`,
    );
  });
}

/** By recipe; two packages of one recipe by their folders. */
function namesOf(models: readonly BenchmarkSubject[]): string[] {
  const byRecipe = models.map(nameOf);
  const byFolder = models.map(({ model }) => baseName(model));
  return (
    [byRecipe, byFolder].find((names) => new Set(names).size === names.length) ??
    byRecipe.map((name, index) => (index === 0 ? name : `${name} (${index + 1})`))
  );
}

function nameOf({ recipe, model }: BenchmarkSubject): string {
  return recipe ? (recipe.split(' ')[0] ?? recipe) : `${baseName(model)} (${words.fullPrecision})`;
}
