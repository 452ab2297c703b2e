import { selfTextName } from '../../contract/common.ts';
import type { TextPreview } from '../../contract/text-preview.ts';
import { openModel } from '../../model/open.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import type { TaskFunction } from './control.ts';
import { contextFor } from './quantization-settings.ts';
import { previewSelfText } from './self-text.ts';
import { readWindows } from './text-windows.ts';
import { threadCount } from './threads.ts';

/** Windows and tokens of each that are shown; the rest is of the same kind. */
const shownWindows = 3;
const shownTokens = 160;
/** The same of text that has to be written first: the second window is a conversation, where the model has them. */
const shownSelfWindows = 2;
const shownSelfTokens = 64;

export const previewTextTask: TaskFunction<'previewText'> = async (input, control) => {
  const source = await openModel(input.model);
  try {
    const { architecture } = source;
    const tokenizer = createTokenizer(source.tokenizer, {
      modelVocabularySize: architecture.vocabularySize,
    });
    const context = contextFor(architecture, input.context);
    if ('self' in input.text) {
      const windows = Math.min(shownSelfWindows, input.windows);
      const length = Math.min(context, shownSelfTokens);
      const { ids, notes } = await previewSelfText(
        source,
        tokenizer,
        {
          ...{ ...input.text.self, seed: input.seed ?? 0, context, windows },
          ...{ threads: threadCount(0), tokensOfEach: length },
        },
        control,
      );
      return {
        textName: selfTextName,
        textSha256: null,
        documents: input.windows,
        totalTokens: input.windows * context,
        availableWindows: input.windows,
        context,
        windows: shownTokensOf(tokenizer, ids, windows, length, length),
        fingerprint: null,
        notes,
      };
    }
    const chosen = await readWindows(
      // Looks at what a quantization will read.
      'quantize',
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
      windows: shownTokensOf(tokenizer, chosen.ids, shown, context, shownTokens),
      fingerprint: chosen.fingerprint,
      notes: [],
    };
  } finally {
    source.close();
  }
};

/** The first `most` tokens of the first windows of `context` ids each. */
function shownTokensOf(
  tokenizer: Tokenizer,
  ids: Int32Array,
  windows: number,
  context: number,
  most: number,
): TextPreview['windows'] {
  return Array.from({ length: windows }, (_, window) => {
    const first = [...ids.subarray(window * context, (window + 1) * context)].slice(0, most);
    return {
      tokens: first.map((id) => ({
        id,
        text: tokenizer.decode([id], { keepSpecial: true, continuation: true }),
      })),
    };
  });
}
