import { DBellError } from '../../contract/errors.ts';
import { type TopLogits, type TopRequest, topLimits } from '../../model/top-logits.ts';
import type { GpuContext } from './context.ts';
import { requestWords, topOfAllKernel, topOfSlicesKernel, topSlices } from './kernels/top.ts';
import type { StepDescription } from './program.ts';

/** exp of less than this is 0 in the kernels' float32 (kernels/arithmetic.ts). */
const leastExponent = -88;

/** Finds the highest logits of one row on the device, and the weight of all (kernels/top.ts). */
export class TopSelection {
  /** What is to be read back, `resultWords(request)` words of it. */
  readonly result: GPUBuffer;
  readonly steps: readonly StepDescription[];
  readonly bytes: number;
  readonly #context: GpuContext;
  readonly #vocabularySize: number;
  readonly #slices: number;
  readonly #request: GPUBuffer;
  readonly #candidates: GPUBuffer;

  /** `logits` begins with the row, `[vocabularySize]`. */
  constructor(context: GpuContext, logits: GPUBuffer, vocabularySize: number) {
    this.#context = context;
    this.#vocabularySize = vocabularySize;
    const { slice, slices } = topSlices(vocabularySize);
    this.#slices = slices;
    const room = topLimits.count;
    const create = (label: string, words: number) => context.createBuffer('scratch', label, 4 * words);
    this.#request = create('top request', requestWords.length);
    this.#candidates = create('top candidates', 2 * slices * room);
    this.result = create('top logits', 2 * (slices + room));
    this.bytes = this.#request.size + this.#candidates.size + this.result.size;
    const parameters = { vocabulary: vocabularySize, slice, slices, room };
    this.steps = [
      {
        one: topOfSlicesKernel(),
        parameters,
        buffers: [logits, this.#request, this.#candidates, this.result],
        extent: () => [slices, 1, 1],
      },
      {
        one: topOfAllKernel(),
        parameters,
        buffers: [this.#request, this.#candidates, this.result],
        extent: () => [1, 1, 1],
      },
    ];
  }

  /** Says what the steps submitted next are to find. Throws DBellError `invalid-input` beyond `topLimits`. */
  write({ count, temperature }: TopRequest): void {
    const { leastTemperature, highestTemperature } = topLimits;
    if (!Number.isInteger(count) || count < 1 || count > topLimits.count)
      throw new DBellError(
        'invalid-input',
        `${count} of the highest logits; 1 to ${topLimits.count} are possible`,
      );
    if (!(temperature >= leastTemperature && temperature <= highestTemperature))
      throw new DBellError(
        'invalid-input',
        `the temperature is ${temperature}; ${leastTemperature} to ${highestTemperature} are possible`,
      );
    const words = new DataView(new ArrayBuffer(4 * requestWords.length));
    words.setUint32(0, count, true);
    words.setFloat32(4, 2 / temperature, true);
    words.setFloat32(8, (leastExponent * temperature) / 2, true);
    this.#context.device.queue.writeBuffer(this.#request, 0, words.buffer);
  }

  resultWords({ count }: TopRequest): number {
    return 2 * (this.#slices + Math.min(count, this.#vocabularySize));
  }

  /** What was read back, for the same request; null where a logit is not finite. */
  decode(words: Float32Array, { temperature }: TopRequest): Omit<TopLogits, 'all'> | null {
    const slices = this.#slices;
    const found = words.subarray(2 * slices);
    const whole = new Uint32Array(found.buffer, found.byteOffset, found.length);
    const count = found.length / 2;
    const logits = Float32Array.from({ length: count }, (_, rank) => found[2 * rank] as number);
    const ids = Int32Array.from({ length: count }, (_, rank) => whole[2 * rank + 1] as number);
    let totalWeight = 0;
    for (let slice = 0; slice < slices; slice++) {
      const sum = words[2 * slice + 1] as number;
      if (sum < 0) return null;
      totalWeight += sum * Math.exp(((words[2 * slice] as number) - (logits[0] as number)) / temperature);
    }
    return { ids, logits, totalWeight };
  }

  destroy(): void {
    for (const buffer of [this.#request, this.#candidates, this.result])
      this.#context.destroyBuffer('scratch', buffer);
  }
}
