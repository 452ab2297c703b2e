import { jsonObjectSchema } from '../../contract/common.ts';
import { sumOfBytes } from '../../contract/itemised-bytes.ts';
import { linearsOf } from '../../model/architecture.ts';
import { openPackage } from '../../package/open.ts';
import { storedBytesOf } from '../../package/quality.ts';
import type { PackageSource } from '../../package/types.ts';
import type { TaskFunction } from './control.ts';

type Part = 'attention' | 'mlp' | 'embedding' | 'head' | 'other tensors';

/** Errors layer by layer and where the bytes are, from the package's headers and quality.json. */
export const packageQualityTask: TaskFunction<'packageQuality'> = async (input) => {
  const source = await openPackage(input.package, { checkValues: false });
  try {
    const { quality, quantization, architecture, packageBytes, modelBytes } = source;
    const blockOf = new Map(
      architecture.blocks.flatMap((block) =>
        linearsOf(block).map(({ name }) => [name, block.index] as const),
      ),
    );
    const bytes: Record<Part, number> = { attention: 0, mlp: 0, embedding: 0, head: 0, 'other tensors': 0 };
    const partOf = partNames(source);
    for (const [name, entry] of Object.entries(quantization.tensors)) {
      bytes[partOf(name)] += storedBytesOf(name, entry);
    }
    const tensorBytes = sumOfBytes(bytes);
    return {
      package: source.path,
      recipe: quantization.recipe.name,
      layers: quality.layers.map((layer) => ({ ...layer, blockIndex: blockOf.get(layer.name) ?? 0 })),
      parts: [
        ...Object.entries(bytes).map(([name, each]) => ({ name: name as Part, bytes: each })),
        { name: 'header' as const, bytes: modelBytes - tensorBytes },
        { name: 'other files' as const, bytes: packageBytes - modelBytes },
      ],
      bytes: packageBytes,
      calibration: jsonObjectSchema.parse(quality.calibration),
      parameters: quality.total.parameters,
    };
  } finally {
    source.close();
  }
};

/** Which part of the model a name of `quantization_config.tensors` belongs to. */
function partNames({ architecture, quantization }: PackageSource): (name: string) => Part {
  const attention = new Set<string>();
  const mlp = new Set<string>();
  for (const { stages } of architecture.blocks) {
    for (const stage of stages) {
      const names = stage.name === 'mlp-in' || stage.name === 'mlp-out' ? mlp : attention;
      for (const { name } of stage.linears) names.add(name);
    }
  }
  return (name) => {
    if (attention.has(name)) return 'attention';
    if (mlp.has(name)) return 'mlp';
    if (quantization.tensors[name]?.layout !== 'table') return 'other tensors';
    return name === architecture.embedding.table ? 'embedding' : 'head';
  };
}
