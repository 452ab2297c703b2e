import { toErrorPayload } from '../../contract/error-payload.ts';
import { openPackage } from '../../package/open.ts';
import type { TaskFunction } from './control.ts';

/** What packages say of themselves, from their headers; values are not read. */
export const describePackagesTask: TaskFunction<'describePackages'> = async ({ packages }) => ({
  packages: await Promise.all(packages.map(describe)),
});

async function describe(folder: string) {
  try {
    const source = await openPackage(folder, { checkValues: false });
    const { quantization, activationBits, storedBitsPerWeight, packageBytes } = source;
    source.close();
    return {
      recipe: quantization.recipe.name,
      storedBitsPerWeight,
      activationBits,
      embeddingBits: quantization.embedding_bits,
      bytes: packageBytes,
      problem: null,
    };
  } catch (error) {
    return {
      recipe: null,
      storedBitsPerWeight: null,
      activationBits: null,
      embeddingBits: null,
      bytes: null,
      problem: toErrorPayload(error).message,
    };
  }
}
