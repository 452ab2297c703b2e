import { processMemory } from '../../measure/memory.ts';
import { perplexity } from '../../measure/perplexity.ts';
import type { TaskFunction } from './control.ts';
import { contextFor } from './quantization-settings.ts';
import { openSubject } from './subject.ts';
import { readWindows } from './text-windows.ts';

const task = 'perplexity';

export const perplexityTask: TaskFunction<'perplexity'> = async (input, control) => {
  const { documentSeparator } = input;
  const subject = await openSubject(task, input.model, input, control);
  try {
    const windows = await readWindows(
      task,
      input.text,
      subject,
      {
        context: contextFor(subject.architecture, input.context),
        choice: { kind: 'first', count: input.windows ?? 'all' },
        separatorId:
          documentSeparator === 'default'
            ? undefined
            : documentSeparator === 'none'
              ? null
              : documentSeparator,
      },
      control,
    );
    const startedAt = performance.now();
    const measured = await perplexity(subject.model, windows, {
      border: () => control.border(),
      onProgress: ({ windowsDone, windowCount }) => {
        const elapsed = performance.now() - startedAt;
        control.progress({
          task,
          stage: task,
          fraction: windowsDone / windowCount,
          step: { index: windowsDone - 1, count: windowCount, unit: 'window' },
          item: null,
          relativeError: null,
          remainingMs: (elapsed / windowsDone) * (windowCount - windowsDone),
        });
      },
    });
    return { ...measured, model: subject.path, peakRssBytes: processMemory().peakRssBytes };
  } finally {
    await subject.close();
  }
};
