import { generate } from '../../measure/generate.ts';
import { renderChat } from '../../model/chat-template.ts';
import { loadedModelKey, type TaskInput } from '../work-protocol.ts';
import type { TaskControl, TaskFunction } from './control.ts';
import { openSubject, type Subject } from './subject.ts';

const task = 'generate';

/** What the task before left loaded in a process that is kept. */
let loaded: { key: string; subject: Subject } | null = null;

/** The model, from the task before where that is the same; the service gives a kept process only such tasks. */
async function subjectOf(input: TaskInput<'generate'>, control: TaskControl): Promise<Subject> {
  const key = loadedModelKey(input);
  const before = loaded;
  loaded = null;
  if (before?.key === key) return { ...before.subject, loadMs: 0 };
  await before?.subject.close();
  return openSubject(task, input.model, input, control);
}

/** Plain continuation of a prompt, or the answer to a chat by the model's own template. */
export const generateTask: TaskFunction<'generate'> = async (input, control) => {
  const subject = await subjectOf(input, control);
  let isDone = false;
  const { model, tokenizer, architecture } = subject;
  try {
    const chat =
      'messages' in input
        ? await renderChat(subject.chatTemplate, input.messages, tokenizer, subject.tokenizerConfig)
        : null;
    const warnings = chat?.warnings ?? [];
    for (const message of warnings) control.report({ type: 'message', level: 'warning', message });
    const promptIds =
      chat === null
        ? tokenizer.encode('prompt' in input ? input.prompt : '')
        : tokenizer.encodeSegments(chat.segments);
    const generated = await generate(model, tokenizer, promptIds, {
      maximumTokens: input.maximumTokens,
      sampling: input.sampling,
      endOfTextIds: architecture.endOfTextIds,
      stopTexts: [...input.stop, ...(chat?.stopTexts ?? [])],
      contextLength: input.context,
      isContinuation: chat === null,
      alternatives: input.alternatives,
      onText: (text, ids, choices) =>
        control.text(text, ids, input.alternatives > 0 ? [{ text, choices }] : undefined),
      border: () => control.pauseBorder(),
      stopRequested: () => control.stopRequested(),
    });
    isDone = true;
    return {
      ...generated,
      model: subject.path,
      activationBits: model.activationBits,
      ...(model.keyValueCache && { keyValueCache: model.keyValueCache }),
      kernelPath: model.kernelPath,
      device: model.device,
      loadMs: subject.loadMs,
      template: chat?.format ?? null,
      warnings,
    };
  } finally {
    if (isDone && input.keepLoaded) loaded = { key: loadedModelKey(input), subject };
    else await subject.close();
  }
};
