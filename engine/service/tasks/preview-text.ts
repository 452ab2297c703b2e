import { openModel } from '../../model/open.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import type { TaskFunction } from './control.ts';
import { contextFor } from './quantization-settings.ts';
import { readWindows } from './text-windows.ts';

/** Windows and tokens of each that are shown; the rest is of the same kind. */
const shownWindows = 3;
const shownTokens = 160;

export const previewTextTask: TaskFunction<'previewText'> = async (input, control) => {
  const source = await openModel(input.model);
  try {
    const { architecture } = source;
    const tokenizer = createTokenizer(source.tokenizer, {
      modelVocabularySize: architecture.vocabularySize,
    });
    const context = contextFor(architecture, input.context);
    const chosen = await readWindows(
      'previewText',
      input.text,
      { tokenizer, architecture },
      {
        context,
        choice:
          input.seed === undefined
            ? { kind: 'first', count: input.windows }
            : { kind: 'seeded', count: input.windows, seed: input.seed },
      },
      control,
    );
    const shown = Math.min(shownWindows, chosen.windowCount);
    return {
      textName: chosen.source.name,
      textSha256: chosen.source.textSha256,
      documents: chosen.source.documentCount,
      totalTokens: chosen.source.totalTokens,
      availableWindows: Math.floor(chosen.source.totalTokens / context),
      context,
      windows: Array.from({ length: shown }, (_, window) => {
        const ids = [...chosen.ids.subarray(window * context, (window + 1) * context)].slice(0, shownTokens);
        return {
          tokens: ids.map((id) => ({
            id,
            text: tokenizer.decode([id], { keepSpecial: true, continuation: true }),
          })),
        };
      }),
      fingerprint: chosen.fingerprint,
    };
  } finally {
    source.close();
  }
};
