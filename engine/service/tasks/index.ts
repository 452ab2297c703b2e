import type { TaskKind } from '../work-protocol.ts';
import type { TaskFunction } from './control.ts';

/** Every task, loaded when it is needed, so that a work process holds in memory only what its task uses. */
export const tasks: { [K in TaskKind]: () => Promise<TaskFunction<K>> } = {
  benchmark: async () => (await import('./benchmark.ts')).benchmarkTask,
  benchmarkPeer: async () => (await import('./benchmark-peer.ts')).benchmarkPeerTask,
  checkBenchmark: async () => (await import('./check-benchmark.ts')).checkBenchmarkTask,
  channelWeights: async () => (await import('./channel-weights.ts')).channelWeightsTask,
  describePackage: async () => (await import('./describe-package.ts')).describePackageTask,
  describePackages: async () => (await import('./describe-packages.ts')).describePackagesTask,
  describeSubject: async () => (await import('./describe-subject.ts')).describeSubjectTask,
  devices: async () => (await import('./devices.ts')).devicesTask,
  environment: async () => (await import('./environment.ts')).environmentTask,
  estimate: async () => (await import('./estimate.ts')).estimateTask,
  export: async () => (await import('./export.ts')).exportTask,
  generate: async () => (await import('./generate.ts')).generateTask,
  hubDownload: async () => (await import('./hub.ts')).hubDownloadTask,
  hubModel: async () => (await import('./hub.ts')).hubModelTask,
  hubSearch: async () => (await import('./hub.ts')).hubSearchTask,
  inspect: async () => (await import('./inspect.ts')).inspectTask,
  kernelTable: async () => (await import('./kernel-table.ts')).kernelTableTask,
  memoryBandwidth: async () => (await import('./memory-bandwidth.ts')).memoryBandwidthTask,
  packageQuality: async () => (await import('./package-quality.ts')).packageQualityTask,
  perplexity: async () => (await import('./perplexity.ts')).perplexityTask,
  prepareBenchmark: async () => (await import('./prepare-benchmark.ts')).prepareBenchmarkTask,
  previewText: async () => (await import('./preview-text.ts')).previewTextTask,
  quality: async () => (await import('./quality.ts')).qualityTask,
  quantize: async () => (await import('./quantize.ts')).quantizeTask,
  recipeSizes: async () => (await import('./recipe-sizes.ts')).recipeSizesTask,
  verify: async () => (await import('./verify.ts')).verifyTask,
};
