import type { FloatEngine } from '../float/types.ts';
import type { Architecture } from '../model/architecture.ts';
import { headGramOperations } from './cost-model.ts';
import type { WindowFile } from './hidden-states.ts';
import { type ProgressReporter, plainEvent } from './progress-reporter.ts';
import { prepareTableMetric, type TableMetric } from './table-metric.ts';

/** Bits of the input of a head whose table is quantized, whatever the linears' activations are (docs/format.md section 6). */
export const headActivationBits = 8;

/**
 * The metric of the head's table from the outputs of the last block, all blocks quantized (method.md section 9). Null where there is nothing to weigh with.
 *
 * @param stream hidden states behind the last block
 */
export async function measureHead(
  engine: FloatEngine,
  architecture: Architecture,
  stream: WindowFile,
  reporter: ProgressReporter,
): Promise<TableMetric | null> {
  const { embeddingSize } = architecture.embedding;
  const gram = engine.newGram(embeddingSize);
  const context = stream.valuesPerWindow / architecture.hiddenSize;
  for (let window = 0; window < stream.windowCount; window += 1) {
    await engine.addHeadGram(stream.read(window), gram, headActivationBits);
    await reporter.advance(
      headGramOperations(architecture, context),
      plainEvent('finish', window + 1, stream.windowCount),
    );
  }
  return prepareTableMetric(gram.matrix(), embeddingSize, architecture.head.tied);
}
