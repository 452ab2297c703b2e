import type { TokenWindows } from '../../calibration/windows.ts';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type { QualityInput, QualityMeasurement, QualitySample } from '../../contract/quality.ts';
import { generate, promptContext } from '../../measure/generate.ts';
import { processMemory } from '../../measure/memory.ts';
import { measureQuality } from '../../measure/quality.ts';
import { attachComparison } from '../../package/attach-measurement.ts';
import { markCalibrationText } from './calibration-text.ts';
import { type TaskControl, type TaskFunction, windowProgress } from './control.ts';
import { isPackage } from './package-detection.ts';
import { contextFor, separatorFor } from './quantization-settings.ts';
import { checkSubject, openSubject, type Subject } from './subject.ts';
import { checkText, readWindows } from './text-windows.ts';

const task = 'quality';

/** Tokens of the measured text that samples go on from where no prompt is given: enough to set a subject. */
const defaultPromptTokens = 16;

/** A packed model beside its original on the same text: figures, verdict, and texts that both write. */
export const qualityTask: TaskFunction<'quality'> = async (input, control) => {
  if (isPackage(input.against)) {
    throw new DBellError(
      'invalid-input',
      `${input.against} is a package, no original: give the model that a package was made from; dbell compare sets packages side by side`,
    );
  }
  // Before anything is loaded.
  checkText(input.text);
  await checkSubject(input.against);
  const subject = await openSubject(task, input.model, input, control);
  try {
    const original = await openSubject(task, input.against, { threads: input.threads }, control);
    try {
      return await compare(input, subject, original, control);
    } finally {
      await original.close();
    }
  } finally {
    await subject.close();
  }
};

async function compare(input: QualityInput, subject: Subject, original: Subject, control: TaskControl) {
  const sourceFingerprint = await original.sourceFingerprint();
  if ((await subject.sourceFingerprint()) !== sourceFingerprint && subject.recipe !== null) {
    const message = `${subject.path} was not made from ${original.path} (fingerprints differ): the figures compare different models`;
    control.report({ type: 'message', level: 'warning', message });
  }
  const windows = await commonWindows(input, subject, original, control);
  const prompts = encodePrompts(input, windows, subject, original);
  const mark = markCalibrationText(subject, windows, control);
  const measured = {
    ...(await measureQuality(original.model, subject.model, windows, {
      border: () => control.border(),
      onProgress: windowProgress(control, task),
    })),
    ...mark,
  };
  // Before the samples: their caches are for the whole context, and what ends them must not cost the figures.
  const { peakRssBytes } = processMemory();
  if (input.remember && subject.recipe !== null)
    await attach(subject.path, measured, sourceFingerprint, control);
  const samples = await writeSamples(input, prompts, subject, original, control);
  return {
    ...measured,
    model: subject.path,
    recipe: subject.recipe,
    against: original.path,
    modelBytes: subject.modelBytes,
    againstBytes: original.modelBytes,
    samples,
    peakRssBytes: Math.max(peakRssBytes, processMemory().peakRssBytes),
    identity: { ...(await subject.identity()), sourceFingerprint },
  };
}

/** The text as both models see it. Models that cut it into different tokens cannot be compared. */
async function commonWindows(
  input: QualityInput,
  subject: Subject,
  original: Subject,
  control: TaskControl,
): Promise<TokenWindows> {
  const options = {
    context: contextFor(subject.architecture, input.context),
    choice: { kind: 'first', count: input.windows ?? 'all' },
    separatorId: separatorFor(input.documentSeparator),
  } as const;
  const windows = await readWindows(task, input.text, subject, options, control);
  const others = await readWindows(task, input.text, original, options, control);
  if (windows.fingerprint !== others.fingerprint)
    throw new DBellError(
      'invalid-input',
      `${subject.path} and ${original.path} cut the text into different tokens, so that their predictions cannot be compared; give the model that the package was made from`,
    );
  return windows;
}

interface EncodedPrompt {
  prompt: string;
  ids: number[];
}

/** What the samples go on from; without a prompt the beginning of the text. Throws where a prompt does not fit one of the two. */
function encodePrompts(
  { samples }: QualityInput,
  windows: TokenWindows,
  { tokenizer, model }: Subject,
  original: Subject,
): EncodedPrompt[] {
  if (samples === null) return [];
  const prompts = samples.prompts.map((prompt) => ({ prompt, ids: tokenizer.encode(prompt) }));
  for (const { ids } of prompts)
    for (const reader of [model, original.model]) promptContext(reader, ids.length);
  if (prompts.length > 0) return prompts;
  const { separatorId } = windows.source;
  const ids = [...windows.ids.subarray(0, Math.min(defaultPromptTokens, windows.context))];
  return [{ prompt: tokenizer.decode(ids.filter((id) => id !== separatorId)), ids }];
}

/** Every prompt in every way of choosing, by both. Figures without texts are worth having: what ends the writing is a warning. */
async function writeSamples(
  { samples }: QualityInput,
  prompts: readonly EncodedPrompt[],
  subject: Subject,
  original: Subject,
  control: TaskControl,
): Promise<QualitySample[]> {
  if (samples === null) return [];
  const { tokenizer } = subject;
  const written: QualitySample[] = [];
  try {
    for (const { prompt, ids } of prompts) {
      for (const sampling of samples.sampling) {
        const write = async ({ model, architecture }: Subject) => {
          await control.border();
          const { text, tokenIds, finishReason } = await generate(model, tokenizer, ids, {
            maximumTokens: samples.tokens,
            sampling,
            endOfTextIds: architecture.endOfTextIds,
          });
          return { text, tokenIds, finishReason };
        };
        control.progress({
          task,
          stage: 'write samples',
          fraction: null,
          step: null,
          item: null,
          relativeError: null,
          remainingMs: null,
        });
        written.push({ prompt, sampling, original: await write(original), model: await write(subject) });
      }
    }
  } catch (error) {
    const { code, message: why } = toErrorPayload(error);
    const message = `the figures are complete, the texts side by side are not: ${code === 'stopped' ? 'stopped while they were written' : why}`;
    control.report({ type: 'message', level: 'warning', message });
  }
  return written;
}

/** A package carries what was measured of it. That it cannot be written to is no reason to lose the measurement. */
async function attach(
  folder: string,
  { kernelPath: _, device: __, durationMs: ___, ...figures }: QualityMeasurement,
  originalFingerprint: string,
  control: TaskControl,
): Promise<void> {
  try {
    await attachComparison(folder, { ...figures, originalFingerprint });
  } catch (error) {
    const message = `the measurement could not be added to the package: ${toErrorPayload(error).message}`;
    control.report({ type: 'message', level: 'warning', message });
  }
}
