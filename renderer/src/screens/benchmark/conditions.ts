import { z } from 'zod';
import { sumOfBytes } from '../../../../engine/contract/itemised-bytes.ts';
import type { BenchmarkSubject } from '../../../../engine/contract/measurement.ts';
import type { Fact } from '../../components/Facts.svelte';
import { bytes, count, decimal, percent, significant } from '../../format/numbers.ts';
import { strings } from '../../strings/index.ts';

/** What is read out of a measurement's conditions, all of it optional: other versions recorded other things. */
const momentSchema = z.object({
  loadAverage: z.array(z.number()).nullish(),
  governor: z.string().nullish(),
  frequencyMHz: z.number().nullish(),
  powerSource: z.string().nullish(),
  temperatureCelsius: z.number().nullish(),
  freeMemoryBytes: z.number().nullish(),
});
const conditionsSchema = z.object({
  machine: z
    .object({
      cpuModel: z.string().nullish(),
      instructionSets: z.array(z.string()).nullish(),
      availableCores: z.number().nullish(),
      isVirtualMachine: z.boolean().nullish(),
      memoryBytes: z.number().nullish(),
    })
    .nullish(),
  before: momentSchema.nullish(),
  after: momentSchema.nullish(),
  othersBusyShareBefore: z.number().nullish(),
  stolenShare: z.number().nullish(),
  threads: z.number().nullish(),
  repetitions: z.number().nullish(),
  generateTokens: z.number().nullish(),
  omittedPromptTokens: z.array(z.number()).nullish(),
  omittedDecodeDepths: z.array(z.number()).nullish(),
  prefillRepetitionsTokensPerSecond: z.record(z.string(), z.array(z.number())).nullish(),
  decodeRepetitionsTokensPerSecond: z.record(z.string(), z.array(z.number())).nullish(),
});

function conditionsOf(subject: BenchmarkSubject): z.infer<typeof conditionsSchema> {
  return conditionsSchema.safeParse(subject.conditions).data ?? {};
}

const words = strings.benchmark.conditionNames;

/** Lowest and highest repetition of each length. */
export function spreadsOf(
  subject: BenchmarkSubject,
  kind: 'prefill' | 'decode',
  lengths: number[],
): ([number, number] | null)[] {
  const conditions = conditionsOf(subject);
  const lists =
    kind === 'prefill'
      ? conditions.prefillRepetitionsTokensPerSecond
      : conditions.decodeRepetitionsTokensPerSecond;
  return lengths.map((length) => {
    const values = lists?.[String(length)];
    return values && values.length > 1 ? [Math.min(...values), Math.max(...values)] : null;
  });
}

/** Bytes that one token decoded at this depth reads; null in results of older versions. */
export function bytesReadAt({ bytesReadPerToken }: BenchmarkSubject, depth: number): number | null {
  const items = bytesReadPerToken[String(depth)];
  return items ? sumOfBytes(items) : null;
}

/**
 * Tokens a second at which reading what a token needs would take all of the memory's bandwidth. Null where either is not known, or where it is read
 * from the cache and the memory bounds nothing.
 */
export function rooflineOf(subject: BenchmarkSubject, depth: number): number | null {
  const read = bytesReadAt(subject, depth);
  if (read === null || subject.memoryBandwidth === null) return null;
  return subject.memoryBandwidthShare[String(depth)] === undefined
    ? null
    : subject.memoryBandwidth.bytesPerSecond / read;
}

/** What the subject is and was measured under. */
export function conditionFacts(subject: BenchmarkSubject): Fact[] {
  const { machine, before, after, ...rest } = conditionsOf(subject);
  const facts: Fact[] = [];
  const add = (label: string, value: string | null | undefined) => {
    if (value !== null && value !== undefined && value !== '') facts.push({ label, value });
  };
  const both = (from: string | null, to: string | null) =>
    from === null && to === null ? null : from === to || to === null ? from : `${from ?? '–'} → ${to}`;
  const number = (value: number | null | undefined, show: (value: number) => string) =>
    value === null || value === undefined ? null : show(value);
  add(words.cpu, machine?.cpuModel);
  add(words.cores, number(machine?.availableCores, count));
  add(words.instructionSets, machine?.instructionSets?.join(', '));
  add(words.virtual, machine?.isVirtualMachine ? words.yes : null);
  add(words.memory, number(machine?.memoryBytes, bytes));
  add(words.threads, number(rest.threads, count));
  add(words.repetitions, number(rest.repetitions, count));
  add(words.generateTokens, number(rest.generateTokens, count));
  add(words.omittedPrompts, rest.omittedPromptTokens?.map(count).join(', '));
  add(words.omittedDepths, rest.omittedDecodeDepths?.map(count).join(', '));
  const load = (values: number[] | null | undefined) => number(values?.[0], (value) => decimal(value, 2));
  const share = (value: number) => percent(value, 1);
  add(words.othersBefore, number(rest.othersBusyShareBefore, share));
  add(words.stolen, number(rest.stolenShare, share));
  add(words.load, both(load(before?.loadAverage), load(after?.loadAverage)));
  add(words.governor, before?.governor);
  const mega = (value: number) => `${count(value)} MHz`;
  add(words.frequency, both(number(before?.frequencyMHz, mega), number(after?.frequencyMHz, mega)));
  add(
    words.power,
    before?.powerSource === 'mains' ? words.mains : before?.powerSource === 'battery' ? words.battery : null,
  );
  const celsius = (value: number) => `${significant(value)} °C`;
  add(
    words.temperature,
    both(number(before?.temperatureCelsius, celsius), number(after?.temperatureCelsius, celsius)),
  );
  add(words.free, both(number(before?.freeMemoryBytes, bytes), number(after?.freeMemoryBytes, bytes)));
  const bandwidth = subject.memoryBandwidth;
  if (bandwidth) {
    add(words.bandwidth, `${bytes(bandwidth.bytesPerSecond)}/s`);
    add(
      words.bandwidthMethod,
      words.bandwidthWith(bandwidth.method, bytes(bandwidth.bufferBytes), count(bandwidth.threads)),
    );
    add(words.lastLevelCache, number(bandwidth.lastLevelCacheBytes, bytes));
  }
  return facts;
}

/** Conditions of what was measured beside `first` that are not the same as its own. */
export function differingConditions(subject: BenchmarkSubject, first: BenchmarkSubject): Fact[] {
  const known = new Map(conditionFacts(first).map(({ label, value }) => [label, value]));
  return conditionFacts(subject).filter(({ label, value }) => known.get(label) !== value);
}
