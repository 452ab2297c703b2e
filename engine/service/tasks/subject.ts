import path from 'node:path';
import type { ActivationBits } from '../../contract/common.ts';
import { createFloatTextModel } from '../../float/text-model.ts';
import type { Architecture } from '../../model/architecture.ts';
import { openModel } from '../../model/open.ts';
import type { TextModel } from '../../model/text-model.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import type { TaskControl } from './control.ts';
import { threadCount } from './threads.ts';

/** A model that is loaded and can be run: in full precision or packed. Perplexity, generation and benchmarks treat both alike. */
export interface Subject {
  /** Absolute, links resolved. */
  path: string;
  kind: TextModel['kind'];
  model: TextModel;
  tokenizer: Tokenizer;
  tokenizerConfig: Record<string, unknown>;
  architecture: Architecture;
  chatTemplate: string | null;
  /** Files of the model. */
  modelBytes: number;
  loadMs: number;
  /** Closes the files alone, where the model was closed already. */
  closeSource(): void;
  close(): Promise<void>;
}

/** Opens and loads a MODEL or PACKAGE. */
export async function openSubject(
  task: string,
  location: string,
  options: { threads: number; activationBits?: ActivationBits },
  control: TaskControl,
): Promise<Subject> {
  control.progress({
    task,
    stage: 'load',
    fraction: null,
    step: null,
    item: path.basename(location),
    relativeError: null,
    remainingMs: null,
  });
  const startedAt = performance.now();
  const source = await openModel(location);
  try {
    const model = await createFloatTextModel(source, {
      threads: threadCount(options.threads),
      activationBits: options.activationBits,
    });
    return {
      path: source.path,
      kind: model.kind,
      model,
      tokenizer: createTokenizer(source.tokenizer, {
        modelVocabularySize: source.architecture.vocabularySize,
      }),
      tokenizerConfig: source.tokenizer.config,
      architecture: source.architecture,
      chatTemplate: source.chatTemplate,
      modelBytes: source.fileBytes,
      loadMs: performance.now() - startedAt,
      closeSource: () => source.close(),
      async close() {
        await model.close();
        source.close();
      },
    };
  } catch (error) {
    source.close();
    throw error;
  }
}
