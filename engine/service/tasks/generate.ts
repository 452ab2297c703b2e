import { generate } from '../../measure/generate.ts';
import { renderChat } from '../../model/chat-template.ts';
import type { TaskFunction } from './control.ts';
import { openSubject } from './subject.ts';

const task = 'generate';

/** Plain continuation of a prompt, or the answer to a chat by the model's own template. */
export const generateTask: TaskFunction<'generate'> = async (input, control) => {
  const subject = await openSubject(task, input.model, input, control);
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
      onText: (text, ids) => control.text(text, ids),
      border: () => control.pauseBorder(),
      stopRequested: () => control.stopRequested(),
    });
    return {
      ...generated,
      model: subject.path,
      activationBits: model.activationBits,
      kernelPath: model.kernelPath,
      device: model.device,
      loadMs: subject.loadMs,
      template: chat?.format ?? null,
      warnings,
    };
  } finally {
    await subject.close();
  }
};
