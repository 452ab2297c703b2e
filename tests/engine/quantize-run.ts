import { setFileFault } from '../../engine/files/faults.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { quantize } from '../../engine/quantize/pipeline.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { randomWindows } from './quantize-support.ts';

/**
 * One quantization run as a process of its own, for tests that kill it.
 * Arguments (JSON): model, recipe, output, windowCount, context, threads, embeddingBits, and killAtOperation: which file operation ends the process (SIGKILL) just before it happens.
 */
const settings = JSON.parse(process.argv[2] ?? '{}') as {
  model: string;
  recipe: string;
  output: string;
  windowCount: number;
  context: number;
  threads: number;
  embeddingBits: 16 | 8 | 6 | 4;
  killAtOperation?: number;
};

let operations = 0;
setFileFault(() => {
  operations += 1;
  if (operations === settings.killAtOperation) process.kill(process.pid, 'SIGKILL');
});

const source = await openModel(settings.model);
const engine = await createFloatEngine(source, { threads: settings.threads });
const workDirectory = `${settings.output}.partial`;
const result = await quantize({
  source,
  engine,
  windows: randomWindows(source.architecture.vocabularySize, settings.windowCount, settings.context),
  recipe: resolveRecipe(settings.recipe, {}, undefined, source.architecture.family),
  embeddingBits: settings.embeddingBits,
  sink: createPackageSink({ workDirectory, outputDirectory: settings.output }),
  workDirectory,
  seed: 0,
  threads: settings.threads,
});
console.log(JSON.stringify({ ...result, operations }));
await engine.close();
source.close();
