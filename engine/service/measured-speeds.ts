import type { CallOutput, ParsedCallInput } from '../contract/calls.ts';
import type { TaskResult } from './work-protocol.ts';

/** Weight of the newest measurement: one block is timed in a moment, in which the machine may have been busy with something else. */
const newestWeight = 0.3;

/** Models, window lengths and thread counts that are remembered: more than a person tries in an hour. */
const rememberedSpeeds = 256;

type Input = ParsedCallInput<'estimate'>;

/**
 * Speeds at which blocks were timed since the service started, each weighted exponentially over its measurements, so that an estimate does not jump with every
 * change of a recipe.
 */
export class MeasuredSpeeds {
  readonly #speeds = new Map<string, number>();

  /** The estimate as it follows from this measurement and those before of the same work. */
  smoothed(
    input: Input,
    { operationsPerSecond: now, ...estimate }: TaskResult<'estimate'>,
  ): CallOutput<'estimate'> {
    if (now === null) return estimate;
    const key = JSON.stringify([input.model, input.context ?? null, input.threads]);
    const before = this.#speeds.get(key) ?? now;
    const speed = before + newestWeight * (now - before);
    this.#speeds.delete(key);
    this.#speeds.set(key, speed);
    for (const oldest of this.#speeds.keys()) {
      if (this.#speeds.size <= rememberedSpeeds) break;
      this.#speeds.delete(oldest);
    }
    const { low, expected, high, basis } = estimate.timeMs;
    const factor = now / speed;
    return {
      ...estimate,
      timeMs: { low: factor * low, expected: factor * expected, high: factor * high, basis },
    };
  }
}
