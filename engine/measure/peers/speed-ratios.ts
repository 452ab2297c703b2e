import type { JsonObject } from '../../contract/common.ts';
import type { BenchmarkSubject, SpeedRatio } from '../../contract/measurement.ts';
import { median } from '../statistics.ts';

type Repetitions = Record<string, number[]>;

/** The conditions of a benchmark hold the speed of every repetition. */
function repetitionsOf(conditions: JsonObject, name: string): Repetitions {
  return (conditions[name] ?? {}) as Repetitions;
}

/** Our speed over the peer's in each repetition, by length: repetitions of the same number were measured one behind the other. */
function ratiosOf(ours: Repetitions, theirs: Repetitions): Record<string, SpeedRatio> {
  const ratios: Record<string, SpeedRatio> = {};
  for (const [length, speeds] of Object.entries(ours)) {
    const quotients = speeds.flatMap((speed, index) => {
      const other = theirs[length]?.[index];
      return other === undefined ? [] : [speed / other];
    });
    if (quotients.length > 0)
      ratios[length] = {
        median: median(quotients),
        smallest: Math.min(...quotients),
        largest: Math.max(...quotients),
      };
  }
  return ratios;
}

/** Ratios of prefill by prompt length and of decoding by depth, of what both were measured at. */
export function speedRatios(
  ours: Pick<BenchmarkSubject, 'conditions'>,
  theirs: Pick<BenchmarkSubject, 'conditions'>,
): { prefillRatio: Record<string, SpeedRatio>; decodeRatio: Record<string, SpeedRatio> } {
  const of = (name: string) =>
    ratiosOf(repetitionsOf(ours.conditions, name), repetitionsOf(theirs.conditions, name));
  return {
    prefillRatio: of('prefillRepetitionsTokensPerSecond'),
    decodeRatio: of('decodeRepetitionsTokensPerSecond'),
  };
}
