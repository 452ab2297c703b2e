import { toErrorPayload } from '../../contract/error-payload.ts';
import { processMemory } from '../../measure/memory.ts';
import { type PerplexityResult as Measured, perplexity } from '../../measure/perplexity.ts';
import { attachPerplexity } from '../../package/attach-measurement.ts';
import { markCalibrationText } from './calibration-text.ts';
import { type TaskControl, type TaskFunction, windowProgress } from './control.ts';
import { contextFor, separatorFor } from './quantization-settings.ts';
import { openSubject } from './subject.ts';
import { checkText, readWindows } from './text-windows.ts';

const task = 'perplexity';

/** A package carries the perplexities that were measured of it. That it cannot be written to is no reason to lose the measurement. */
async function attach(
  folder: string,
  measured: Measured & { isCalibrationText?: true },
  control: TaskControl,
): Promise<void> {
  const {
    perplexity,
    tokens,
    context,
    windows,
    textName,
    textSha256,
    activationBits,
    activationScales,
    ...rest
  } = measured;
  if (perplexity === null) return;
  // What a package says of itself must come out the same on every machine; another device's last bits are its own.
  if (rest.device !== 'cpu' || rest.keyValueCache !== undefined) {
    const message = `the package keeps perplexities measured on the CPU with a cache of float32; that ${rest.keyValueCache ? `with a cache of ${rest.keyValueCache}` : `of ${rest.device}`} is in the history`;
    control.report({ type: 'message', level: 'info', message });
    return;
  }
  try {
    await attachPerplexity(folder, {
      perplexity,
      tokens,
      context,
      windows,
      textName,
      textSha256,
      activationBits,
      ...(activationScales && { activationScales }),
      ...(rest.isCalibrationText ? { isCalibrationText: true } : {}),
    });
  } catch (error) {
    const message = `the perplexity could not be added to the package: ${toErrorPayload(error).message}`;
    control.report({ type: 'message', level: 'warning', message });
  }
}

export const perplexityTask: TaskFunction<'perplexity'> = async (input, control) => {
  const { documentSeparator } = input;
  checkText(input.text);
  const subject = await openSubject(task, input.model, input, control);
  try {
    const windows = await readWindows(
      task,
      input.text,
      subject,
      {
        context: contextFor(subject.architecture, input.context),
        choice: { kind: 'first', count: input.windows ?? 'all' },
        separatorId: separatorFor(documentSeparator),
      },
      control,
    );
    const mark = markCalibrationText(subject, windows, control);
    const measured = {
      ...(await perplexity(subject.model, windows, {
        border: () => control.border(),
        onProgress: windowProgress(control, task),
      })),
      ...mark,
    };
    if (input.remember && subject.recipe !== null) await attach(subject.path, measured, control);
    return {
      ...measured,
      model: subject.path,
      recipe: subject.recipe,
      peakRssBytes: processMemory().peakRssBytes,
      identity: await subject.identity(),
    };
  } finally {
    await subject.close();
  }
};
