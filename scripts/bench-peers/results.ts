import type { BenchmarkPeer, BenchmarkResult } from '../../engine/contract/measurement.ts';
import type { PeerCase } from './cases.ts';

/** One case at one number of threads. */
export interface CaseRun {
  case: PeerCase;
  threads: number;
  /** Null where it failed; then `problem` says why. */
  result: BenchmarkResult | null;
  problem: string | null;
  durationMs: number;
  /** Of a `dbell generate` of one token in a process of its own; null where it was not measured. */
  coldGenerateMs: number | null;
}

/** Null: the peer was not measured. */
type Ratios = Record<string, number | null>;

/** What the last line of `--json` is. */
export interface PeerSummary {
  /** Our speed over the first peer's for each key: the smaller of all numbers of threads, for as many weights. */
  decodeRatio: Ratios;
  prefillRatio: Ratios;
  /** Of the memory's measured read bandwidth, with the most threads, by all bytes that a token reads. Null where they fit the last cache. */
  rooflineFraction: Ratios;
  machine: Record<string, unknown>;
}

/** For as many weights: a peer whose format takes the shape only wider is forgiven what it has more. */
export function fairRatio(
  peer: BenchmarkPeer,
  of: 'prefillRatio' | 'decodeRatio',
  length: number,
): number | null {
  const ratio = peer[of][String(length)];
  return ratio === undefined ? null : ratio.median / peer.weightRatio;
}

export function summarise(runs: readonly CaseRun[], machine: Record<string, unknown>): PeerSummary {
  const isHeld = ({ case: { instructionSet } }: CaseRun): boolean => instructionSet !== undefined;
  const held = runs.filter(isHeld);
  const free = runs.filter((run) => !isHeld(run));
  if (held.length === 0) return summariseRuns(free, machine);
  const { machine: _, ...heldTo } = summariseRuns(held, {});
  return summariseRuns(free, { ...machine, heldToInstructionSet: heldTo });
}

function summariseRuns(runs: readonly CaseRun[], machine: Record<string, unknown>): PeerSummary {
  const summary: PeerSummary = { decodeRatio: {}, prefillRatio: {}, rooflineFraction: {}, machine };
  for (const key of new Set(runs.map((run) => run.case.key))) {
    const own = runs.filter((run) => run.case.key === key);
    const least = (of: 'prefillRatio' | 'decodeRatio', length: number): number | null => {
      const ratios = own.map(({ result }) => {
        const peer = result?.peers?.[0];
        return peer === undefined ? null : fairRatio(peer, of, length);
      });
      const known = ratios.filter((ratio) => ratio !== null);
      return known.length < ratios.length ? null : rounded(Math.min(...known));
    };
    summary.decodeRatio[key] = least('decodeRatio', 0);
    summary.prefillRatio[key] = least('prefillRatio', own[0]?.case.promptTokens ?? 0);
    const most = own.reduce((a, b) => (b.threads > a.threads ? b : a));
    const share = most.result?.memoryBandwidthShare['0'];
    summary.rooflineFraction[key] = share === undefined ? null : rounded(share);
  }
  return summary;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
