import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ErrorPayload } from '../../contract/error-payload.ts';
import { DBellError } from '../../contract/errors.ts';
import type {
  BenchmarkPeer,
  BenchmarkResult,
  BenchmarkSettings,
  MemoryBandwidth,
  PeerRequest,
  SyntheticModel,
} from '../../contract/measurement.ts';
import { bordersOf } from '../../measure/benchmark.ts';
import { speedRatios } from '../../measure/peers/speed-ratios.ts';
import type { TurnOutcome, TurnTask } from '../turns.ts';
import type { PreparedPeer, SubjectIdentity, TaskResult } from '../work-protocol.ts';
import { besideBandwidth } from './bandwidth.ts';
import type { JobContext } from './job.ts';

export type BenchmarkedSubject = { model: string } | { synthetic: SyntheticModel };

type Measured = Omit<BenchmarkResult, 'runId' | 'baseline'>;

/**
 * A benchmark whose model is made for it, or that is measured in turns with other programs. What is written for it lies in a temporary folder, which is gone
 * afterwards. The figures of a shape carry its name in place of a path.
 */
export async function benchmarkInTurns(
  job: JobContext,
  subject: BenchmarkedSubject,
  peers: readonly PeerRequest[],
  settings: Omit<BenchmarkSettings, 'model'>,
): Promise<{ measured: Measured; identity: SubjectIdentity }> {
  const { runTask, runInTurns, message } = job;
  if (settings.device !== 'cpu' && peers.length > 0)
    throw new DBellError(
      'invalid-input',
      `other programs are measured on the processor; leave --device ${settings.device} or --peers away`,
    );
  const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-benchmark-'));
  try {
    const prepared = await runTask('prepareBenchmark', { folder, subject, peers: [...peers] });
    await runTask('checkBenchmark', { subjects: [{ ...settings, model: prepared.model }] });
    for (const peer of prepared.peers)
      if ('problem' in peer)
        message('warning', `${peer.request.engine} is not measured: ${peer.problem.message}`);
    const runnable = prepared.peers.filter((peer): peer is PreparedPeer => !('problem' in peer));
    const { threads, promptTokens, decodeDepths, generateTokens, repetitions } = settings;
    const peerSettings = { threads, promptTokens, decodeDepths, generateTokens, repetitions };
    const tasks: TurnTask[] = [
      { task: 'benchmark', input: { ...settings, model: prepared.model, takesTurns: true } },
      ...runnable.map(
        (peer): TurnTask => ({ task: 'benchmarkPeer', input: { peer, settings: peerSettings } }),
      ),
    ];
    const [own, ...others] = await runInTurns([
      ...tasks,
      { task: 'memoryBandwidth', input: { threads, turns: bordersOf(peerSettings) } },
    ]);
    if (own === undefined || 'problem' in own) throw new DBellError('internal', 'nothing was measured');
    const bandwidth = bandwidthOf(job, others.at(-1));
    const { identity, ...ours } = own.result as TaskResult<'benchmark'>;
    const outcomes = new Map(runnable.map((peer, index) => [peer, others[index]]));
    const results = prepared.peers.map((peer) =>
      'problem' in peer
        ? missingPeer(peer.request, peer.problem)
        : peerResult(peer, outcomes.get(peer), ours, bandwidth),
    );
    for (const { engine, type, problem } of results)
      if (problem !== undefined && runnable.some((peer) => peer.engine === engine && peer.type === type))
        message('warning', `${engine} ${type} was not measured: ${problem.message}`);
    const measured: Measured = {
      ...besideBandwidth(ours, bandwidth),
      ...('synthetic' in subject
        ? { model: syntheticLabel(subject.synthetic), synthetic: subject.synthetic }
        : {}),
      ...(peers.length > 0 ? { peers: results } : {}),
    };
    return { measured, identity };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Null where the memory could not be measured: what was measured beside it is not lost for that. */
function bandwidthOf({ message }: JobContext, outcome: TurnOutcome | undefined): MemoryBandwidth | null {
  if (outcome !== undefined && 'result' in outcome) return outcome.result as TaskResult<'memoryBandwidth'>;
  message(
    'warning',
    `how fast the memory is was not measured: ${outcome?.problem.message ?? 'it was not run'}`,
  );
  return null;
}

/** What stands where a model's path stands otherwise. */
export function syntheticLabel({ shape, levels, tables }: SyntheticModel): string {
  const bits = { 2: '1 bit', 3: 'ternary', 4: '2 bits', 16: '4 bits' }[levels];
  const stored = tables === 'grid' ? 'everything' : `tables of ${tables} bits`;
  return `${shape} shape, random weights, ${bits}, ${stored}`;
}

function missingPeer({ engine, type }: PeerRequest, problem: ErrorPayload): BenchmarkPeer {
  return {
    ...{ engine, type: type ?? 'default', weights: 'none', weightRatio: 1, version: null, settings: {} },
    ...{ subject: null, problem, prefillRatio: {}, decodeRatio: {} },
  };
}

function peerResult(
  { engine, type, weights, weightRatio }: PreparedPeer,
  outcome: TurnOutcome | undefined,
  ours: Pick<Measured, 'conditions'>,
  bandwidth: MemoryBandwidth | null,
): BenchmarkPeer {
  if (outcome === undefined || 'problem' in outcome) {
    const problem = outcome?.problem ?? { code: 'internal' as const, message: 'it was not run' };
    return { ...missingPeer({ engine, type }, problem), weights, weightRatio };
  }
  const { subject, version, settings } = outcome.result as TaskResult<'benchmarkPeer'>;
  return {
    ...{ engine, type, weights, weightRatio, version, settings },
    subject: besideBandwidth(subject, bandwidth),
    ...speedRatios(ours, subject),
  };
}
