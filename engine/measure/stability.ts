import type { MachineConditions, MomentaryConditions } from './conditions.ts';
import { relativeSpread } from './statistics.ts';

/** What a verdict is made from. */
export interface StabilityInput {
  machine: MachineConditions;
  before: MomentaryConditions;
  after: MomentaryConditions;
  /** Of all processors' time right before the run, what other processes worked; null where the system does not tell. */
  othersBusyShareBefore: number | null;
  /** Of the processor time wanted during the run, what the virtual machine's host gave to others; null where the system does not tell. */
  stolenShare: number | null;
  threads: number;
  repetitions: number;
  /** Speeds of the repetitions by what was measured, such as `prefill 128`. */
  speeds: ReadonlyMap<string, readonly number[]>;
}

interface StabilityRule {
  name: string;
  limit: number;
  /** The worst value and what it belongs to; null where it cannot be told. */
  value: (input: StabilityInput) => { value: number; of: string } | null;
  /** Whether the limit is a lower bound. */
  isMinimum?: boolean;
  message: (value: string, limit: string, of: string) => string;
  unit: 'percent' | 'number' | 'celsius';
}

/** Every rule; a figure counts as stable where none is broken. */
export const stabilityRules: readonly StabilityRule[] = [
  {
    // Below three values a spread says nothing.
    name: 'repetitions',
    limit: 3,
    isMinimum: true,
    value: ({ repetitions }) => ({ value: repetitions, of: '' }),
    message: (value, limit) =>
      `${value === '1' ? '1 repetition' : `${value} repetitions`} cannot show a spread; at least ${limit} are needed`,
    unit: 'number',
  },
  {
    // A quiet machine repeats itself within about 3 percent; 10 percent is as large as the differences people compare.
    name: 'spread',
    limit: 0.1,
    value: ({ speeds }) => {
      let worst: { value: number; of: string } | null = null;
      for (const [of, values] of speeds) {
        const value = relativeSpread(values);
        if (worst === null || value > worst.value) worst = { value, of };
      }
      return worst;
    },
    message: (value, limit, of) => `the repetitions of ${of} differ by ${value} (limit ${limit})`,
    unit: 'percent',
  },
  {
    // An idle desktop stays below 5 percent. A load average would also count what this program did a minute ago.
    name: 'others before',
    limit: 0.1,
    value: ({ othersBusyShareBefore: value }) => (value === null ? null : { value, of: '' }),
    message: (value, limit) =>
      `the machine was busy before the run: other programs took ${value} of its processors (limit ${limit})`,
    unit: 'percent',
  },
  {
    name: 'stolen',
    limit: 0.05,
    value: ({ stolenShare: value }) => (value === null ? null : { value, of: '' }),
    message: (value, limit) =>
      `the host of this virtual machine gave ${value} of the processor time to others (limit ${limit})`,
    unit: 'percent',
  },
  {
    name: 'threads beyond cores',
    limit: 1,
    value: ({ threads, machine }) => ({
      value: threads / Math.min(machine.availableCores, Math.max(machine.cpuQuotaCores ?? Infinity, 1)),
      of: '',
    }),
    message: (value) => `there are ${value} times as many threads as cores`,
    unit: 'number',
  },
  {
    // Processors begin to slow down from about here.
    name: 'temperature',
    limit: 95,
    value: ({ after }) =>
      after.temperatureCelsius === null ? null : { value: after.temperatureCelsius, of: '' },
    message: (value, limit) => `the processor is at ${value} (limit ${limit}) and may be slowing down`,
    unit: 'celsius',
  },
  {
    name: 'battery',
    limit: 0,
    value: ({ before, after }) => ({
      value: before.powerSource === 'battery' || after.powerSource === 'battery' ? 1 : 0,
      of: '',
    }),
    message: () => 'the machine runs on battery and may save power',
    unit: 'number',
  },
];

/** Verdict and, in words, every rule that was broken. */
export function judgeStability(input: StabilityInput): { stable: boolean; notes: string[] } {
  const notes: string[] = [];
  for (const rule of stabilityRules) {
    const found = rule.value(input);
    if (found === null) continue;
    const isBroken = rule.isMinimum === true ? found.value < rule.limit : found.value > rule.limit;
    if (!isBroken) continue;
    const limit = written(rule.limit, rule.unit);
    // What rounds to the limit is told more exactly, or it would seem to keep to it.
    const value = written(found.value, rule.unit);
    notes.push(rule.message(value === limit ? written(found.value, rule.unit, 1) : value, limit, found.of));
  }
  return { stable: notes.length === 0, notes };
}

function written(value: number, unit: StabilityRule['unit'], decimals = 0): string {
  if (unit === 'percent')
    return `${(value * 100).toLocaleString('en', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}%`;
  if (unit === 'celsius') return `${value.toFixed(decimals)} °C`;
  return String(Number(value.toFixed(2)));
}
