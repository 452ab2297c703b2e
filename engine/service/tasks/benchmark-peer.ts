import { DBellError } from '../../contract/errors.ts';
import { runBenchmark } from '../../measure/benchmark.ts';
import { openLlamaCpp } from '../../measure/peers/llama-cpp-model.ts';
import { type OnnxruntimeType, onnxruntimeTypes } from '../../measure/peers/onnxruntime-graph.ts';
import { openOnnxruntime } from '../../measure/peers/onnxruntime-model.ts';
import type { PeerFacts } from '../../measure/peers/peer.ts';
import type { PreparedPeer } from '../work-protocol.ts';
import { benchmarkControl } from './benchmark.ts';
import type { TaskFunction } from './control.ts';
import { threadCount } from './threads.ts';

/** Measures another program, in turns with the model that it is compared with. */
export const benchmarkPeerTask: TaskFunction<'benchmarkPeer'> = async ({ peer, settings }, control) => {
  const threads = threadCount(settings.threads);
  let facts: PeerFacts | undefined;
  const label = `${peer.engine} ${peer.type}`;
  const measured = await runBenchmark(
    async () => {
      const opened = await open(peer, threads);
      facts = opened.facts;
      return opened.model;
    },
    0,
    { ...settings, threads },
    benchmarkControl(control, true, performance.now(), label),
  );
  if (facts === undefined) throw new DBellError('internal', 'nothing was measured');
  const modelBytes = measured.memoryBytes.file ?? measured.memoryBytes.weights ?? 0;
  return { subject: { ...measured, model: label, modelBytes }, ...facts };
};

function open(peer: PreparedPeer, threads: number) {
  if (peer.engine === 'onnxruntime') {
    if (!onnxruntimeTypes.includes(peer.type as OnnxruntimeType))
      throw new DBellError('internal', `onnxruntime has no ${peer.type}`);
    return openOnnxruntime(peer.shape, peer.type as OnnxruntimeType, threads);
  }
  if (peer.gguf === null) throw new DBellError('internal', 'llama.cpp has no file');
  return openLlamaCpp(peer.gguf, peer.shape, peer.type, threads, peer.unreadBytes);
}
