import type { ComparedMeasurement, ComparedSubject, CompareInput } from '../../contract/compare.ts';
import { compareSubjects, nothingButPerplexity } from '../../measure/compare-subjects.ts';
import type { RunStore } from '../run-store.ts';
import type { TaskResult } from '../work-protocol.ts';
import type { JobContext, JobDefinition } from './job.ts';
import { perplexityJob, qualityJob } from './measurement.ts';

type Windows = NonNullable<TaskResult<'describeSubject'>['windows']>;

/** Describes every subject from its files, measures what is missing on the text where one is given, and puts them side by side. */
export function compareJob(runs: RunStore, input: CompareInput): JobDefinition<'compare'> {
  return {
    kind: 'compare',
    runId: null,
    tasks: ['compare'],
    subject: { models: [...input.subjects], recipe: null, activationBits: null, output: null },
    async run(job) {
      const { text, context, windows, documentSeparator } = input;
      const wanted = text === undefined ? null : { text, context, windows, documentSeparator };
      const subjects: ComparedSubject[] = [];
      const textWindows: (Windows | null)[] = [];
      for (const path of input.subjects) {
        const described = await job.runTask('describeSubject', { path, wanted });
        subjects.push(described.subject);
        textWindows.push(described.windows);
      }
      const original = subjects.find(({ isPackage }) => !isPackage) ?? null;
      for (const [index, subject] of subjects.entries()) {
        // The original's perplexity comes with the measurements of its packages.
        const isJudgedAgainst =
          subject === original &&
          subjects.some((other) => other.isPackage && other.sourceFingerprint === original.sourceFingerprint);
        if (isJudgedAgainst) continue;
        const measured = await measureMissing(job, runs, input, {
          subject,
          original,
          windows: textWindows[index]!,
        });
        if (measured === null) continue;
        // What is kept changes the package, and is then read from it like all the rest.
        if (input.remember && subject.isPackage)
          subjects[index] = (
            await job.runTask('describeSubject', { path: subject.path, wanted: null })
          ).subject;
        const { measurements } = subjects[index]!;
        if (!measurements.some((known) => isSameMeasurement(known, measured))) measurements.unshift(measured);
      }
      return { subjects, ...compareSubjects(subjects) };
    },
  };
}

/**
 * Measures a subject on the text unless it was: against the original where that is a subject too, else its perplexity alone.
 */
async function measureMissing(
  job: JobContext,
  runs: RunStore,
  input: CompareInput,
  {
    subject,
    original,
    windows,
  }: { subject: ComparedSubject; original: ComparedSubject | null; windows: Windows | null },
): Promise<ComparedMeasurement | null> {
  const { text, context, documentSeparator, threads, remember } = input;
  if (text === undefined || windows === null) return null;
  const known = subject.measurements.filter(
    (measured) =>
      measured.textSha256 === windows.textSha256 &&
      measured.context === windows.context &&
      measured.windows === windows.windows &&
      measured.activationBits === subject.activationBits,
  );
  const settings = {
    ...{ model: subject.path, text, context, windows: input.windows, documentSeparator, threads },
    remember,
  };
  const comparable = original !== null && original.sourceFingerprint === subject.sourceFingerprint;
  if (subject.isPackage && comparable) {
    if (known.some(({ originalFingerprint }) => originalFingerprint === original.sourceFingerprint))
      return null;
    const quality = await qualityJob(runs, { ...settings, against: original.path, samples: null }).run(job);
    const { klDivergenceNats, ...figures } = quality;
    return {
      ...figures,
      klDivergenceNats: klDivergenceNats.mean,
      originalFingerprint: original.sourceFingerprint,
    };
  }
  if (known.length > 0) return null;
  const perplexity = await perplexityJob(runs, { ...settings, device: 'cpu' }).run(job);
  return { ...perplexity, ...nothingButPerplexity };
}

function isSameMeasurement(a: ComparedMeasurement, b: ComparedMeasurement): boolean {
  return (
    a.textSha256 === b.textSha256 &&
    a.context === b.context &&
    a.windows === b.windows &&
    a.activationBits === b.activationBits &&
    a.originalFingerprint === b.originalFingerprint
  );
}
